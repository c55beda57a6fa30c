;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (guix packages)
  #:use-module (stub-record)
  #:use-module (guix build-system)
  #:use-module (guix utils)
  #:use-module (srfi srfi-1)
  #:export (package package? package-name package-version package-outputs package-arguments package-inputs
            package-propagated-inputs package-replacement package-native-search-paths package->bag of-guix
            %supported-systems))

(define %supported-systems (list "x86_64-linux"))

(define %required
  '(name version source build-system synopsis description license home-page))
;; In Guix, procedures that take the package give the values of some fields.
(define %thunked
  '(arguments inputs propagated-inputs native-inputs replacement))
(define %optional
  '(outputs native-search-paths search-paths supported-systems properties location))

;; Of the others it is #f.
(define %defaults
  '((arguments) (inputs) (propagated-inputs) (native-inputs) (native-search-paths) (outputs "out")))

(define <package>
  (make-record-type 'package (append %required %thunked %optional)))
(define package? (record-predicate <package>))

(define-syntax-rule (package (field value) ...)
  (make-package (record 'package %required (append %thunked %optional)
                        (list (cons 'field value) ...))))

(define (make-package fields)
  (apply (record-constructor <package>)
         (map (lambda (name)
                (let ((value (or (assq-ref fields name) (assq-ref %defaults name))))
                  (if (memq name %thunked) (lambda (self) value) value)))
              (record-type-fields <package>))))

(define package-name (record-accessor <package> 'name))
(define package-version (record-accessor <package> 'version))
(define package-outputs (record-accessor <package> 'outputs))
(define package-native-search-paths (record-accessor <package> 'native-search-paths))

(define (thunked field)
  (let ((get (record-accessor <package> field)))
    (lambda (package) ((get package) package))))
(define package-arguments (thunked 'arguments))
(define package-inputs (thunked 'inputs))
(define package-propagated-inputs (thunked 'propagated-inputs))
(define package-replacement (thunked 'replacement))

;; Not exported, as Guix's.
(define %bag-cache (make-weak-key-hash-table))

(define* (package->bag package #:optional (system (%current-system)) (target (%current-target-system)) #:key graft?)
  (let ((known (or (hashq-ref %bag-cache package) '()))
        (key (list system target)))
    (or (assoc-ref known key)
        (let ((bag (apply (assq-ref ((record-accessor <package> 'build-system) package) 'lower)
                          (package-name package)
                          #:system system
                          #:outputs (package-outputs package)
                          #:inputs (package-inputs package)
                          (package-arguments package))))
          (hashq-set! %bag-cache package (acons key bag known))
          bag))))

;; A package of Guix's.
(define* (of-guix name #:key (version "0") (outputs '("out")) (inputs '()) (propagated-inputs '()) replacement)
  (package
    (name name)
    (version version)
    (source #f)
    (build-system
      (build-system
        (name 'of-guix)
        (description "One that was not replaced")
        (lower (lambda* (name #:key system #:allow-other-keys)
                 (bag
                   (name name)
                   (system system)
                   (build (const 'of-guix)))))))
    (outputs outputs)
    (inputs inputs)
    (propagated-inputs propagated-inputs)
    (replacement replacement)
    (synopsis "")
    (description "")
    (home-page "")
    (license #f)))
