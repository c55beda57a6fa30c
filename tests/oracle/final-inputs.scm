;; SPDX-License-Identifier: GPL-3.0-or-later
;; Loads the module of the final inputs against stubs of the Guix modules that it uses: records are association lists with the
;; fields of Guix's, and the store's monad says that it was used.
;;
;;   guile final-inputs.scm STUBS FILE   what is in %final-inputs, a line for each entry: its name; the output asked for, or -;
;;                                       the package's name, version and outputs; the derivation that it is lowered to.
;;                                       Then a line for each search path: the package, the variable, its separator, and
;;                                       its directories.
(use-modules (ice-9 match)
             (srfi srfi-1))

(define (field record name)
  (assq-ref record name))

;; As Guix does it: from the package to its bag, and from there to the derivation.
(define (lower package)
  (let* ((name (field package 'name))
         (arguments (field package 'arguments))
         (make-bag (field (field package 'build-system) 'lower))
         (bag (apply make-bag name
                     #:system "x86_64-linux"
                     #:outputs (field package 'outputs)
                     #:inputs '()
                     arguments)))
    (unless (and (equal? (field bag 'name) name)
                 (equal? (field bag 'outputs) (field package 'outputs))
                 (equal? (field bag 'system) "x86_64-linux"))
      (error "the bag is not the package's" bag))
    (match (apply (field bag 'build) name '()
                  #:system "x86_64-linux"
                  (field bag 'arguments))
      (('store ('returned (and ('derivation file) derivation))) derivation))))

;; Whether Guix's package NAME of the file MODULE is lowered to PACKAGE here, and to itself for other systems and targets.
(define (lowered-to? name module package)
  (let ((original (module-ref (resolve-interface `(gnu packages ,module)) (string->symbol name)))
        (lower (lambda (package system target)
                 ((module-ref (resolve-interface '(guix gexp)) 'compile) 'package package system target))))
    (and (equal? (lower original "x86_64-linux" #f) (list package "x86_64-linux"))
         (equal? (lower original "i686-linux" #f) (list original "i686-linux"))
         (equal? (lower original "x86_64-linux" "aarch64-linux-gnu")
                 (list original "x86_64-linux" "aarch64-linux-gnu")))))

(define (show . words)
  (format #t "~a~%" (string-join words " ")))

(match (cdr (command-line))
  ((stubs file)
   (add-to-load-path stubs)
   (add-to-load-path (dirname file))
   (let* ((guile-for-build (module-ref (resolve-interface '(guix store)) '%guile-for-build))
          (name (string->symbol (basename file ".scm")))
          ;; Commands choose this before they load the module.
          (chosen (guile-for-build (list 'derivation "guile-3.0.9" "x86_64-linux")))
          (inputs (module-ref (resolve-interface (list name)) '%final-inputs)))
     ;; Guix takes them now, on this system alone.
     (let* ((commencement (resolve-interface '(gnu packages commencement)))
            (of-guix (lambda (variable) (module-ref commencement variable)))
            (bash (cadr (assoc "bash" inputs))))
       (unless (and (equal? ((of-guix '%final-inputs) "x86_64-linux") inputs)
                    (equal? ((of-guix '%final-inputs) "i686-linux") '(of-guix "i686-linux"))
                    (equal? (of-guix 'bash-final) bash)
                    (equal? ((of-guix 'canonical-package) '((name . "bash-minimal") (version . "5.2"))) bash)
                    (equal? ((of-guix 'canonical-package) '((name . "gcc") (version . "4.9"))) '((name . "gcc") (version . "4.9")))
                    (lowered-to? "bash-minimal" 'bash bash)
                    ;; Of Guix's, since ours has fewer outputs.
                    (lowered-to? "coreutils" 'base (module-ref (resolve-interface '(gnu packages base)) 'coreutils)))
         (error "Guix does not use the inputs"))
       (unless (equal? (guile-for-build) (lower (of-guix 'guile-final)))
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
                        (field package 'name)
                        (field package 'version)
                        (string-join (field package 'outputs) ",")
                        (second (lower package)))))
               inputs)
     (for-each (lambda (package)
                 (for-each (lambda (path)
                             (show (field package 'name)
                                   (field path 'variable)
                                   (match (assq 'separator path)
                                     (#f ":")
                                     ((_ . #f) "none")
                                     ((_ . separator) separator))
                                   (string-join (field path 'files) ",")))
                           (or (field package 'native-search-paths) '())))
               (delete-duplicates (map second inputs) eq?)))))
