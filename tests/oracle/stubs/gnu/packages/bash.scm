;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (gnu packages bash)
  #:export (bash-minimal))

(define bash-minimal '((name . "bash-minimal") (outputs "out")))
