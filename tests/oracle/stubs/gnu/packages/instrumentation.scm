;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (gnu packages instrumentation)
  #:use-module (guix packages)
  #:use-module (gnu packages commencement)
  #:export (libpatch))

(define libpatch
  (of-guix "libpatch"
           #:inputs `(("guile" ,guile-final "debug"))))
