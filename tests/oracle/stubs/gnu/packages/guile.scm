;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (gnu packages guile)
  #:export (guile-3.0))

(define guile-3.0 '((name . "guile-3.0") (outputs "out")))
