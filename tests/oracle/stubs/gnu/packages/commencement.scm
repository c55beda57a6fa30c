;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (gnu packages commencement)
  #:use-module (guix packages)
  #:export (%final-inputs canonical-package guile-final glibc-final glibc-utf8-locales-final gcc-toolchain))

;; Made once for each system.
(define make-final-inputs
  (let ((made '()))
    (lambda (system)
      (or (assoc-ref made system)
          (let* ((libc (of-guix "glibc" #:outputs '("out" "debug" "static")
                                #:propagated-inputs (list (list "headers" (of-guix "headers")))
                                #:replacement (of-guix "glibc-fixed")))
                 (inputs `(,@(map (lambda (name) (list name (of-guix name)))
                                  '("tar" "gzip" "bzip2" "file" "diffutils" "patch" "findutils" "gawk" "zstd" "sed" "grep"
                                    "xz" "coreutils" "make" "bash" "ld-wrapper" "binutils" "gcc"))
                           ("libc" ,libc)
                           ("libc:static" ,libc "static"))))
            (set! made (acons system inputs made))
            inputs)))))
(define (%final-inputs system)
  (make-final-inputs system))
(define (canonical-package package) (list 'of-guix package))
(define guile-final (of-guix "guile"))
(define glibc-utf8-locales-final (of-guix "glibc-utf8-locales"))

(define glibc-final
  (cadr (assoc "libc" (%final-inputs "x86_64-linux"))))

(define gcc-toolchain
  (of-guix "gcc-toolchain"
           #:inputs `(("gcc" ,(of-guix "gcc"))
                      ("libc" ,glibc-final)
                      ("libc-debug" ,glibc-final "debug")
                      ("libc-static" ,glibc-final "static"))))
