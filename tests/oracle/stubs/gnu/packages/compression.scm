;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (gnu packages compression)
  #:use-module (guix packages)
  #:export (gzip bzip2 xz zstd))

(define gzip (of-guix "gzip"))
(define bzip2 (of-guix "bzip2"))
(define xz (of-guix "xz" #:outputs '("out" "static")))
(define zstd (of-guix "zstd" #:outputs '("out" "lib" "static")))
