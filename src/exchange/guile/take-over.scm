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

;; Packages of Guix's for which others here stand. Guix's variables stay as they are, since other definitions inherit from
;; them, and other systems and targets need them. Instead, the bag that Guix keeps of such a package for this system, and
;; finds before it lowers the package, is that of ours.

(define %stand-ins
  ;; From Guix's package to ours.
  (make-hash-table))

(define %bag-cache
  (@@ (guix packages) %bag-cache))

(define (change-field! package field change)
  "Set FIELD of PACKAGE, a field that is computed when it is asked for, to what CHANGE makes of it here: in native builds
on this system."
  (let* ((type (struct-vtable package))
         (index (list-index (lambda (name) (eq? name field)) (record-type-fields type)))
         (old (struct-ref package index)))
    (struct-set! package index
                 (lambda (self)
                   ;; Packages that inherit from this one have the same field.
                   (if (and (eq? self package)
                            (string=? (%current-system) %system)
                            (not (%current-target-system)))
                       (change (old self))
                       (old self))))))

(define (stand-for! original package)
  "Have PACKAGE, one of ours, be built wherever ORIGINAL would be."
  (let ((bag (package->bag package %system #f #:graft? #f)))
    (hashq-set! %stand-ins original package)
    (hashq-set! %bag-cache original
                (acons (list %system #f) bag
                       (or (hashq-ref %bag-cache original) '())))
    ;; What ours needs, its derivation has.
    (change-field! original 'propagated-inputs (const '()))
    (change-field! original 'replacement (const #f))
    (unless (eq? bag (package->bag original %system #f #:graft? #f))
      (error "this version of Guix keeps bags in another way" (package-name original)))))

(define (stand-for-variable! module variable name)
  "Have our package NAME stand for Guix's VARIABLE of MODULE, where it has all outputs of it but debugging information.
Not every version of Guix has that variable."
  (let ((original (module-ref (resolve-interface module) variable #f))
        (package (assoc-ref %packages name)))
    (when (and package original
               (every (lambda (output) (member output (package-outputs package)))
                      (delete "debug" (package-outputs original))))
      (stand-for! original package))))

(define no-output
  (package
    (name "no-output")
    (version "0")
    (source #f)
    (build-system trivial-build-system)
    (arguments (list #:builder '(mkdir (assoc-ref %outputs "out"))))
    (home-page "https://guix.gnu.org/")
    (synopsis "Empty directory")
    (description "Empty directory")
    (license #f)))

(define (with-stand-ins inputs)
  "Return INPUTS with our packages in place of those for which they stand. Of an output that ours lacks, as libc:debug,
nothing is there."
  (map (match-lambda
         ((and (label (? package? original) outputs ...) input)
          (let ((package (hashq-ref %stand-ins original original)))
            (cond ((not (memq package (map cdr %packages))) input)
                  ((every (lambda (output) (member output (package-outputs package))) outputs)
                   (cons* label package outputs))
                  (else (list label no-output)))))
         (input input))
       inputs))

(define (take-over!)
  (define commencement
    (resolve-module '(gnu packages commencement)))
  (define final-inputs
    (module-ref commencement '%final-inputs))

  ;; Also the inputs of the system that Guix runs on: toolchains for all systems name them.
  (for-each (lambda (system)
              (for-each (match-lambda*
                          (((_ original . _) (_ package . _))
                           (unless (hashq-ref %stand-ins original)
                             (stand-for! original package))))
                        (final-inputs system)
                        %final-inputs))
            (delete-duplicates (list %system (%current-system))))
  (for-each (match-lambda
              ((module variable . name)
               (stand-for-variable! module variable name)))
            `(((gnu packages commencement) guile-final . "guile")
              ((gnu packages commencement) glibc-utf8-locales-final . "libc")
              ((gnu packages base) tar . "tar")
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
              ((gnu packages guile) guile-3.0 . "guile")
              ,@(map (lambda (gcc)
                       `((gnu packages gcc) ,(string->symbol (string-append "gcc-" (version-series gcc))) . "gcc"))
                     (filter-map (cut assoc-ref %packages <>) '("gcc")))))

  ;; Toolchains and wrappers of linkers, which the bootstrap's last packages are inputs of; what wants debugging
  ;; information of these.
  (for-each (lambda (module)
              (module-for-each (lambda (name variable)
                                 (let ((value (variable-ref variable)))
                                   (when (and (package? value)
                                              (not (hashq-ref %stand-ins value)))
                                     (change-field! value 'inputs with-stand-ins)
                                     (change-field! value 'native-inputs with-stand-ins))))
                               (resolve-interface module)))
            '((gnu packages commencement) (gnu packages instrumentation) (gnu packages valgrind)))

  (module-set! commencement '%final-inputs
               (lambda* (#:optional (system (%current-system)))
                 (if (string=? system %system) %final-inputs (final-inputs system))))
  (module-set! commencement 'canonical-package
               (canonical (module-ref commencement 'canonical-package))))

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

;; Builders of `guix pack' set the locale en_US.utf8, which our C library of revision 2 does not have, unless the profile
;; has no locales. They start in C.UTF-8 anyway.

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

(define (support-system!)
  "Have packages that name no systems support ours."
  (unless (member %system %supported-systems)
    ;; In place: packages have the list, and not its variable.
    (set-cdr! %supported-systems (cons %system (cdr %supported-systems)))))

(support-system!)
(take-over!)
(replace-hooks!)
(replace-guile-for-build!)
(replace-pack-formats!)
