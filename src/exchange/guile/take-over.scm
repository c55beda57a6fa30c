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
              (glibc-utf8-locales-final . "libc"))))

;; Guix's packages that expressions and other packages name as inputs. Their variables stay as they are, since other
;; definitions inherit from them; what a package here stands for is decided where one is lowered.

(define %stand-ins
  ;; From Guix's package to ours.
  (make-hash-table))

(define (stand-in! module variable name)
  "Have our package NAME stand for Guix's VARIABLE of MODULE, where it has all outputs of it. Not every version of Guix
has that variable."
  (let ((original (module-ref (resolve-interface module) variable #f))
        (package (assoc-ref %packages name)))
    (when (and package original
               (every (lambda (output) (member output (package-outputs package)))
                     (package-outputs original)))
      (hashq-set! %stand-ins original package))))

(define <package>
  (@@ (guix packages) <package>))

;; In place of the one of (guix packages).
(define-gexp-compiler (stand-in-compiler (package <package>) system target)
  (let ((package (or (and (not target)
                          (string=? system %system)
                          (hashq-ref %stand-ins package))
                     package)))
    (if target
        (package->cross-derivation package target system)
        (package->derivation package system))))

(for-each (match-lambda
            ((module variable . name)
             (stand-in! module variable name)))
          '(((gnu packages base) tar . "tar")
            ((gnu packages base) sed . "sed")
            ((gnu packages base) grep . "grep")
            ((gnu packages base) coreutils . "coreutils")
            ((gnu packages base) coreutils-minimal . "coreutils")
            ((gnu packages base) findutils . "findutils")
            ((gnu packages base) diffutils . "diffutils")
            ((gnu packages base) patch . "patch")
            ((gnu packages base) gnu-make . "make")
            ((gnu packages base) glibc-utf8-locales . "libc")
            ((gnu packages bash) bash-minimal . "bash")
            ((gnu packages compression) gzip . "gzip")
            ((gnu packages compression) bzip2 . "bzip2")
            ((gnu packages compression) xz . "xz")
            ((gnu packages compression) zstd . "zstd")
            ((gnu packages file) file . "file")
            ((gnu packages gawk) gawk . "gawk")
            ((gnu packages guile) guile-3.0 . "guile")))

;; Of the hooks that make parts of a profile, two run for every profile and need what is not here: texinfo's
;; install-info, and X's mkfontdir. As Guix does with man-db, they run where the profile has programs that read the
;; result.

(define (hook-for packages hook)
  (lambda* (manifest #:optional system)
    (let ((names (map manifest-entry-name
                      (manifest-transitive-entries manifest))))
      (if (any (lambda (name)
                 (any (lambda (prefix) (string-prefix? prefix name)) packages))
               names)
          (hook manifest system)
          (with-monad %store-monad (return #f))))))

(define (replace-hooks!)
  (for-each (match-lambda
              ((variable . packages)
               (let* ((hook (module-ref (resolve-module '(guix profiles)) variable #f))
                      (place (memq hook %default-profile-hooks)))
                 (when place
                   ;; In place: procedures of (guix profiles) have the list, and not its variable.
                   (set-car! place (hook-for packages hook))))))
            '((info-dir-file "texinfo" "info-reader" "emacs")
              (fonts-dir-file "font-" "mkfontdir" "mkfontscale"))))

;; `guix pack', `guix package' and others choose what runs builders before they load this module.

(define (replace-guile-for-build!)
  (let ((current (%guile-for-build))
        (package (assoc-ref %packages "guile")))
    (when (and package (derivation? current)
               (string=? (derivation-system current) %system)
               (string-prefix? "guile-3" (derivation-name current)))
      (match (package-arguments package)
        ((#:file file)
         (%guile-for-build (read-derivation-from-file file)))))))

;; Builders of `guix pack' set the locale en_US.utf8, which our C library does not have, unless the profile has no
;; locales. They start in C.UTF-8 anyway.

(define (replace-pack-formats!)
  (let ((pack (resolve-module '(guix scripts pack) #f #:ensure #f)))
    (for-each (lambda (format)
                (let ((make (cdr format)))
                  (set-cdr! format
                            (lambda (name contents . rest)
                              (apply make name
                                     (if (and (profile? contents)
                                              (string=? (%current-system) %system))
                                         (profile
                                          (inherit contents)
                                          (locales? #f))
                                         contents)
                                     rest)))))
              ;; No list where another command runs.
              (if pack (module-ref pack '%formats '()) '()))))

(take-over!)
(replace-hooks!)
(replace-guile-for-build!)
(replace-pack-formats!)
