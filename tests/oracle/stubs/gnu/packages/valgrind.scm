;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (gnu packages valgrind)
  #:use-module (guix packages)
  #:use-module (gnu packages commencement)
  #:export (valgrind))

(define valgrind
  (of-guix "valgrind"
           #:inputs `(("gdb" ,(of-guix "gdb"))
                      ("libc" ,glibc-final "debug"))))
