;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (gnu packages gawk)
  #:export (gawk))

(define gawk '((name . "gawk") (outputs "out")))
