;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (guix search-paths)
  #:use-module (stub-record)
  #:export (search-path-specification))

(define-syntax-rule (search-path-specification (field value) ...)
  (record 'search-path-specification
          '(variable files)
          '(separator file-type file-pattern)
          (list (cons 'field value) ...)))
