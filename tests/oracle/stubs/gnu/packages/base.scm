;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (gnu packages base)
  #:export (coreutils-minimal))

(define coreutils-minimal (quote of-guix))
