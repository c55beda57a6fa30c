(define-module (guix build-system)
  #:export (build-system bag))

(define-syntax-rule (build-system (field value) ...)
  (list (cons 'field value) ...))

(define-syntax-rule (bag (field value) ...)
  (list (cons 'field value) ...))
