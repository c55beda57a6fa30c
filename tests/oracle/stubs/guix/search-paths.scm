(define-module (guix search-paths)
  #:export (search-path-specification))

(define-syntax-rule (search-path-specification (field value) ...)
  (list (cons 'field value) ...))
