;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (gnu packages bash)
  #:use-module (guix packages)
  #:export (bash-minimal))

(define bash-minimal (of-guix "bash-minimal"))
