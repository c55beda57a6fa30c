;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (gnu packages guile)
  #:use-module (guix packages)
  #:export (guile-3.0))

(define guile-3.0 (of-guix "guile-3.0"))
