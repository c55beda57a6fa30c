;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (guix derivations)
  #:export (read-derivation-from-file))

(define (read-derivation-from-file file)
  (list 'derivation file))
