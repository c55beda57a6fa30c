;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (gnu packages file)
  #:use-module (guix packages)
  #:export (file))

(define file (of-guix "file"))
