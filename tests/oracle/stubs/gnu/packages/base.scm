;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (gnu packages base)
  #:export (tar sed grep coreutils-minimal findutils diffutils patch gnu-make glibc-utf8-locales coreutils))

(define tar '((name . "tar") (outputs "out")))
(define sed '((name . "sed") (outputs "out")))
(define grep '((name . "grep") (outputs "out")))
(define coreutils-minimal '((name . "coreutils-minimal") (outputs "out")))
(define findutils '((name . "findutils") (outputs "out")))
(define diffutils '((name . "diffutils") (outputs "out")))
(define patch '((name . "patch") (outputs "out")))
(define gnu-make '((name . "gnu-make") (outputs "out")))
(define glibc-utf8-locales '((name . "glibc-utf8-locales") (outputs "out")))
(define coreutils '((name . "coreutils") (outputs "out" "debug")))
