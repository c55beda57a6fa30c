(define-module (guix packages)
  #:export (package))

(define-syntax-rule (package (field value) ...)
  (list (cons 'field value) ...))
