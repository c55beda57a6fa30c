(define-module (guix store)
  #:export (%store-monad))

(define %store-monad 'store)
