;; SPDX-License-Identifier: GPL-3.0-or-later
;; Loads the module of the final inputs against stubs of the Guix modules that it uses: records have the fields of Guix's, most
;; are association lists, and the store's monad says that it was used.
;;
;;   guile final-inputs.scm STUBS FILE   what is in %final-inputs, a line for each entry: its name; the output asked for, or -;
;;                                       the package's name, version and outputs; the derivation that it is lowered to.
;;                                       Then a line for each search path: the package, the variable, its separator, and
;;                                       its directories.
(use-modules (ice-9 match)
             (srfi srfi-1)
             (srfi srfi-26))
(add-to-load-path (cadr (command-line)))
(use-modules (guix packages)
             (guix utils))

(define (field record name)
  (assq-ref record name))

;; As Guix does it: from the package to its bag, and from there to the derivation.
(define (lower package)
  (let ((bag (package->bag package "x86_64-linux" #f)))
    (unless (and (equal? (field bag 'outputs) (package-outputs package))
                 (equal? (field bag 'system) "x86_64-linux"))
      (error "the bag is not the package's" bag))
    (match (apply (field bag 'build) (field bag 'name) '()
                  #:system "x86_64-linux"
                  (field bag 'arguments))
      (('store ('returned (and ('derivation file) derivation))) derivation))))

(define (ours? bag)
  (pair? (field bag 'arguments)))

(define (lowered-to? original package)
  "Return whether ORIGINAL, one of Guix's, is lowered to PACKAGE here, and to itself for other systems and targets."
  (and (eq? (package->bag original "x86_64-linux" #f)
            (package->bag package "x86_64-linux" #f))
       (not (ours? (package->bag original "i686-linux" #f)))
       (not (ours? (package->bag original "x86_64-linux" "aarch64-linux-gnu")))))

(define (variable-of module name)
  (module-ref (resolve-interface `(gnu packages ,module)) name))

(define (show . words)
  (format #t "~a~%" (string-join words " ")))

(match (cdr (command-line))
  ((stubs file)
   (add-to-load-path (dirname file))
   (let* ((guile-for-build (module-ref (resolve-interface '(guix store)) '%guile-for-build))
          (name (string->symbol (basename file ".scm")))
          ;; Commands choose this before they load the module.
          (chosen (guile-for-build (list 'derivation "guile-3.0.9" "x86_64-linux")))
          (inputs (module-ref (resolve-interface (list name)) '%final-inputs)))
     ;; Guix takes them now, on this system alone.
     (let* ((final-inputs (variable-of 'commencement '%final-inputs))
            (canonical (variable-of 'commencement 'canonical-package))
            (bash (cadr (assoc "bash" inputs)))
            (gcc (cadr (assoc "gcc" inputs)))
            (libc (cadr (assoc "libc" inputs)))
            (libc-of-guix (variable-of 'commencement 'glibc-final))
            (old-gcc (of-guix "gcc" #:version "4.9"))
            (toolchain (variable-of 'commencement 'gcc-toolchain)))
       (for-each (match-lambda
                   ((what . #f) (error "Guix does not use the inputs" what))
                   (_ #t))
                 `((final-inputs . ,(eq? (final-inputs "x86_64-linux") inputs))
                   (final-inputs-of-another-system . ,(not (eq? (final-inputs "i686-linux") inputs)))
                   (canonical . ,(eq? (canonical (variable-of 'bash 'bash-minimal)) bash))
                   (canonical-of-another-version . ,(eq? (canonical old-gcc) old-gcc))
                   (bash . ,(lowered-to? (variable-of 'bash 'bash-minimal) bash))
                   (gcc . ,(lowered-to? (variable-of 'gcc 'gcc-14) gcc))
                   (libc . ,(lowered-to? libc-of-guix libc))
                   ;; What ours needs, its derivation has.
                   (propagated . ,(null? (package-propagated-inputs libc-of-guix)))
                   (replacement . ,(not (package-replacement libc-of-guix)))
                   (of-another-system . ,(parameterize ((%current-system "i686-linux"))
                                           (and (pair? (package-propagated-inputs libc-of-guix))
                                                (package-replacement libc-of-guix))))
                   ;; Ours has fewer outputs.
                   (coreutils . ,(not (ours? (package->bag (variable-of 'base 'coreutils)))))))
       (match (package-inputs toolchain)
         ((("gcc" _) ("libc" (? (cut eq? <> libc))) ("libc-debug" nothing) ("libc-static" (? (cut eq? <> libc)) "static"))
          (unless (equal? (package-outputs nothing) '("out"))
            (error "an output that is not there is asked for"))))
       (match (append (package-inputs (variable-of 'instrumentation 'libpatch))
                      (package-inputs (variable-of 'valgrind 'valgrind)))
         ((("guile" _) ("gdb" _) ("libc" _)) #t))
       (parameterize ((%current-system "i686-linux"))
         (match (package-inputs toolchain)
           ((_ _ ("libc-debug" _ "debug") _) #t))
         (match (package-inputs (variable-of 'valgrind 'valgrind))
           ((_ ("libc" _ "debug")) #t)))
       (unless (equal? (guile-for-build) (lower (variable-of 'commencement 'guile-final)))
         (error "Guix does not use our Guile" (guile-for-build))))
     ;; Profiles have the parts whose makers are not here where they have a reader of them.
     (let ((hooks (module-ref (resolve-interface '(guix profiles)) '%default-profile-hooks))
           (made (lambda (hooks manifest)
                   (map (lambda (hook) (hook manifest "x86_64-linux")) hooks))))
       (unless (and (equal? (made hooks '("hello"))
                            '((store (returned #f)) (other "x86_64-linux") (store (returned #f))))
                    (equal? (made hooks '("hello" "texinfo" "font-terminus"))
                            '((info-dir "x86_64-linux") (other "x86_64-linux") (fonts-dir "x86_64-linux"))))
         (error "profiles are not as they should be" (made hooks '("hello")))))
     (for-each (match-lambda
                 ((label package . output)
                  (show label
                        (match output (() "-") ((output) output))
                        (package-name package)
                        (package-version package)
                        (string-join (package-outputs package) ",")
                        (second (lower package)))))
               inputs)
     (for-each (lambda (package)
                 (for-each (lambda (path)
                             (show (package-name package)
                                   (field path 'variable)
                                   (match (assq 'separator path)
                                     (#f ":")
                                     ((_ . #f) "none")
                                     ((_ . separator) separator))
                                   (string-join (field path 'files) ",")))
                           (package-native-search-paths package)))
               (delete-duplicates (map second inputs) eq?)))))
