;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (gnu packages file)
  #:export (file))

(define file '((name . "file") (outputs "out")))
