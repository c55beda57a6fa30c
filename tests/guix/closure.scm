;; SPDX-License-Identifier: GPL-3.0-or-later
;; Looks for foreign items in the closures of derivations. Run by closure.sh, as: guix repl closure.scm CHANNEL SYSTEM,
;; with the directory that has the module of SYSTEM's inputs.
(use-modules (ice-9 match))
(match (command-line)
  ((_ channel _)
   (add-to-load-path channel)
   (add-to-load-path "/scratch")))
(use-modules (guix)
             (guix derivations)
             (guix packages)
             (guix profiles)
             (guix store)
             (guix transformations)
             (gnu packages)
             (foreign)
             (srfi srfi-1))

(define system
  (last (command-line)))

(define (supported names)
  "Return those of NAMES of which Guix says that SYSTEM can have them."
  (filter (lambda (name)
            (supported-package? (specification->package name) system))
          names))

(define (explicit-closure packages)
  "Return PACKAGES and what they name as inputs, and so on."
  (let loop ((packages packages)
             (result '()))
    (match packages
      (() result)
      ((package rest ...)
       (if (memq package result)
           (loop rest result)
           (loop (append (filter package? (map cadr (package-direct-inputs package))) rest)
                 (cons package result)))))))

(define (stem name)
  "Return NAME, of a source, without what tells its kind."
  (match (string-contains name ".tar")
    (#f name)
    (index (substring name 0 index))))

(define* (own-names packages #:optional (more '()))
  "Return a procedure that tells whether a name is of one of PACKAGES, of their explicit inputs, of the source of one, or
one of MORE."
  (let ((names (append more
                       (append-map (lambda (package)
                                     (let ((name (string-append (package-name package) "-" (package-version package)))
                                           (source (package-source package)))
                                       (cons name
                                             (if (origin? source)
                                                 (list (stem (origin-actual-file-name source)))
                                                 '()))))
                                   (explicit-closure packages)))))
    (lambda (name)
      (member (stem name) names))))

;; What Guix adds to any package, and to any profile.
(define %of-packages '("module-import-compiled"))
(define %of-profiles '("module-import-compiled" "profile" "ca-certificate-bundle" "emacs-subdirs"))

(define failed 0)
(define (check what good? text)
  (format #t "~a: ~a: ~a~%" (if good? "pass" "FAIL") what text)
  (unless good?
    (set! failed (+ failed 1))))

(define (check-closure store what drv own?)
  (match (foreign-items store drv own?)
    (() (check what #t "nothing foreign"))
    (items (check what #f (string-join (map basename items))))))

(with-store store
  (for-each (lambda (name)
              (let ((package (specification->package name)))
                (check-closure store name
                               (package-derivation store package system #:graft? #f)
                               (own-names (list package) %of-packages))))
            ;; Without inputs; with a source that a snippet changes; with inputs that have inputs; for Linux alone.
            `("hello" "m4" "gnushogi" "lpsolve" "mpc" ,@(supported '("nfacct"))))
  (check "GNU's packages" (= 3 (length (supported '("hello" "m4" "curl"))))
         (string-append "Guix has them for " system))
  (let* ((hello (specification->package "hello"))
         (own? (own-names (list hello) %of-profiles)))
    (for-each (match-lambda
                ((what . manifest)
                 (check-closure store what
                                (run-with-store store (profile-derivation manifest #:system system) #:system system)
                                own?)))
              `(("a profile with hello" . ,(packages->manifest (list hello)))
                ("guix shell -D hello" . ,(package->development-manifest hello system))))

    ;; Packages with hundreds of others below them, of several build systems; what Guix makes with the C library and the
    ;; linker of its bootstrap, or their debugging information; sources that an expression makes.
    (for-each (lambda (name)
                (check-closure store name
                               (package-derivation store (specification->package name) system #:graft? #f)
                               (const #t)))
              `("curl" "git-minimal" "cmake-minimal" "gcc-toolchain@10" "gcc-toolchain@14" "gfortran-toolchain" "tbb@2020"
                "ruby-tzinfo-data" "libei" "libpatch" ,@(supported '("racket"))))

    ;; Options that rewrite a package make others of all that it is built from.
    (let ((rewrite (options->transformation '((with-input . "zlib=bzip2")))))
      (for-each (lambda (name)
                  (check-closure store (string-append name " --with-input")
                                 (package-derivation store (rewrite (specification->package name)) system #:graft? #f)
                                 (const #t)))
                '("curl" "gcc-toolchain@14" "tbb@2020")))
    (for-each (lambda (name)
                (check-closure store (string-append name " --target")
                               (package-cross-derivation store (specification->package name) "aarch64-linux-gnu" system
                                                         #:graft? #f)
                               (const #t)))
              '("hello" "curl"))

    ;; For another system, Guix's own bootstrap is used: the search finds it.
    (for-each (lambda (name)
                (let ((items (foreign-items store (package-derivation store (specification->package name) "i686-linux" #:graft? #f))))
                  (check (string-append name " for i686-linux") (pair? items)
                         (format #f "~a foreign items, as expected" (length items)))))
              '("hello" "gcc-toolchain@14"))))

(exit (if (zero? failed) 0 1))
