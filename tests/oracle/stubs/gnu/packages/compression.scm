;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (gnu packages compression)
  #:export (gzip bzip2 xz zstd))

(define gzip '((name . "gzip") (outputs "out")))
(define bzip2 '((name . "bzip2") (outputs "out")))
(define xz '((name . "xz") (outputs "out" "static")))
(define zstd '((name . "zstd") (outputs "out" "lib" "static")))
