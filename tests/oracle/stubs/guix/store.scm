;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (guix store)
  #:export (%store-monad))

(define %store-monad 'store)
