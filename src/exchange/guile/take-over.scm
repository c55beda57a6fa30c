;; SPDX-License-Identifier: GPL-3.0-or-later

;; From here on: Guix takes these items wherever it takes those of its own bootstrap. Modules that were compiled refer to
;; the variables of (gnu packages commencement) by name, when a package is lowered, so that setting them is enough.

(define %guix-names
  ;; Guix's name of a package, where it differs from the name here.
  '(("glibc" . "libc") ("glibc-utf8-locales" . "libc") ("bash-minimal" . "bash") ("coreutils-minimal" . "coreutils")))

(define (bootstrap-package package)
  "Return the package here that stands for Guix's PACKAGE, or #f. Of compilers, C libraries and Guile, Guix has several
versions, and a package that asks for one of these by its version gets Guix's."
  (let* ((name (package-name package))
         (name (or (assoc-ref %guix-names name) name))
         (candidate (assoc-ref %packages name)))
    (and candidate
         (or (not (member name '("gcc" "libc" "guile")))
             (string=? (version-series candidate) (version-series package)))
         candidate)))

(define (version-series package)
  "Return what tells series of PACKAGE apart: \"14\" of gcc, \"3.0\" of Guile."
  (match (package-name package)
    ("gcc" (version-major (package-version package)))
    ((or "libc" "glibc" "glibc-utf8-locales") "any")
    (_ (version-major+minor (package-version package)))))

(define (canonical original)
  (lambda (package)
    (if (or (%current-target-system)
            (not (string=? (%current-system) %system)))
        (original package)
        (or (bootstrap-package package) package))))

(define (take-over!)
  (define commencement
    (resolve-module '(gnu packages commencement)))
  (define (replace! variable make)
    (module-set! commencement variable (make (module-ref commencement variable))))

  (replace! '%final-inputs
            (lambda (original)
              (lambda* (#:optional (system (%current-system)))
                (if (string=? system %system) %final-inputs (original system)))))
  (replace! 'canonical-package canonical)
  (for-each (match-lambda
              ((variable . name)
               (let ((package (assoc-ref %packages name)))
                 (when package
                   (replace! variable (const package))))))
            '((guile-final . "guile")
              (gcc-final . "gcc")
              (glibc-final . "libc")
              (binutils-final . "binutils")
              (ld-wrapper . "ld-wrapper")
              (bash-final . "bash")
              (coreutils-final . "coreutils")
              (sed-final . "sed")
              (grep-final . "grep")
              (xz-final . "xz")
              (glibc-utf8-locales-final . "libc")))
  ;; Inputs of other packages, by the variables that these name.
  (for-each (match-lambda
              ((module variable name)
               (let ((package (assoc-ref %packages name)))
                 (when package
                   (module-set! (resolve-module module) variable package)))))
            '(((gnu packages bash) bash-minimal "bash")
              ((gnu packages base) coreutils-minimal "coreutils")
              ((gnu packages guile) guile-3.0 "guile"))))

(take-over!)
