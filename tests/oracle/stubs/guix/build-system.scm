;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (guix build-system)
  #:use-module (stub-record)
  #:export (build-system bag))

(define-syntax-rule (build-system (field value) ...)
  (record 'build-system
          '(name description lower)
          '()
          (list (cons 'field value) ...)))

(define-syntax-rule (bag (field value) ...)
  (record 'bag
          '(name system build)
          '(target build-inputs host-inputs target-inputs outputs arguments)
          (list (cons 'field value) ...)))
