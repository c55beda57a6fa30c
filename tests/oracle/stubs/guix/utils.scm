;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (guix utils)
  #:export (version-major version-major+minor %current-system %current-target-system))

(define (version-major version)
  (car (string-split version #\.)))
(define (version-major+minor version)
  (let ((parts (string-split version #\.)))
    (string-append (car parts) "." (cadr parts))))
(define %current-system (make-parameter "x86_64-linux"))
(define %current-target-system (make-parameter #f))
