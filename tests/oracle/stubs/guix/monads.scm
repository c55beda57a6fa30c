;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (guix monads)
  #:export (with-monad return))

(define (return value)
  (list 'returned value))

(define-syntax-rule (with-monad monad body)
  (list monad body))
