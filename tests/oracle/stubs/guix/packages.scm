;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (guix packages)
  #:use-module (stub-record)
  #:export (package package-name package-version package-outputs package-arguments
            package->derivation package->cross-derivation))

(define <package> 'package)

(define-syntax-rule (package (field value) ...)
  (record 'package
          '(name version source build-system synopsis description license home-page)
          '(arguments inputs propagated-inputs native-inputs outputs native-search-paths search-paths replacement
            supported-systems properties location)
          (list (cons 'field value) ...)))

(define (package-name package) (assq-ref package 'name))
(define (package-version package) (assq-ref package 'version))
(define (package-outputs package) (assq-ref package 'outputs))
(define (package-arguments package) (assq-ref package 'arguments))
(define (package->derivation package system) (list package system))
(define (package->cross-derivation package target system) (list package system target))
