;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (guix gexp)
  #:export (define-gexp-compiler compile))

(define compilers '())

(define-syntax-rule (define-gexp-compiler (name (param type) system target) body ...)
  (begin
    (define (name param system target) body ...)
    (register! type name)))

(define (register! type compiler)
  (set! compilers (acons type compiler compilers)))

;; What an object of TYPE is lowered to.
(define (compile type object system target)
  ((assq-ref compilers type) object system target))
