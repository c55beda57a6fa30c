;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (gnu packages gcc)
  #:use-module (guix packages)
  #:export (gcc-14))

(define gcc-14 (of-guix "gcc" #:version "14.3.0" #:outputs '("out" "lib" "debug")))
