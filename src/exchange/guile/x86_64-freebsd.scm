;; SPDX-License-Identifier: GPL-3.0-or-later
;; Written by `bootstrap export --guix'. Guix 1.5 has no platform for FreeBSD; it looks for platforms in guix/platforms
;; of each directory that modules are loaded from.
(define-module (guix platforms x86_64-freebsd)
  #:use-module (guix packages)
  #:use-module (guix platform)
  #:use-module (guix records)
  #:export (x86_64-freebsd))

(define x86_64-freebsd
  (platform
   (target "x86_64-unknown-freebsd")
   (system "x86_64-freebsd")
   (rust-target "x86_64-unknown-freebsd")
   ;; In the C library's item.
   (glibc-dynamic-linker "/libexec/ld-elf.so.1")))

;; `guix pack' lowers what Guix takes for its Guile before it loads any module of packages.
(let ((original default-guile))
  (module-set! (resolve-module '(guix packages)) 'default-guile
               (lambda ()
                 (resolve-interface '(bootstrap-inputs))
                 (original))))
