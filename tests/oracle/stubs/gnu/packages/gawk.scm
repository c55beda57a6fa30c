;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (gnu packages gawk)
  #:use-module (guix packages)
  #:export (gawk))

(define gawk (of-guix "gawk"))
