;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (guix store)
  #:export (%store-monad %guile-for-build))

(define %store-monad 'store)

(define %guile-for-build
  (make-parameter #f))
