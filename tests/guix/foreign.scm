;; SPDX-License-Identifier: GPL-3.0-or-later
;; What of a derivation's closure is foreign: neither of the bootstrap, nor run by its programs, nor a source.
(define-module (foreign)
  #:use-module (guix)
  #:use-module (guix derivations)
  #:use-module (guix store)
  #:use-module (bootstrap-inputs)
  #:use-module (ice-9 ftw)
  #:use-module (ice-9 match)
  #:use-module (srfi srfi-1)
  #:export (foreign-items))

(define (module-derivations)
  "Return the files of the derivations that the module (bootstrap-inputs) names."
  (map (match-lambda
         ((_ . package)
          (match (package-arguments package)
            ((#:file file) file))))
       (@@ (bootstrap-inputs) %packages)))

(define bootstrap-closure
  (let ((known #f))
    (lambda (store)
      "Return two tables: the items of the bootstrap's own derivations, and their outputs."
      (unless known
        (let ((items (make-hash-table))
              (outputs (make-hash-table)))
          (for-each (lambda (item)
                      (hash-set! items item #t)
                      (when (derivation-path? item)
                        (for-each (match-lambda
                                    ((_ . path) (hash-set! outputs path #t)))
                                  (derivation->output-paths (read-derivation-from-file item)))))
                    (requisites store (module-derivations)))
          (set! known (list items outputs))))
      (apply values known))))

(define (has-program? item)
  "Return whether ITEM, a source, has a file that can be run."
  (let ((found? #f))
    (ftw item (lambda (name stat flag)
                (when (and (eq? flag 'regular)
                           (not (zero? (logand #o111 (stat:perms stat)))))
                  (set! found? #t))
                #t))
    found?))

(define* (foreign-items store drv #:optional (own? (const #t)))
  "Return what is foreign in the closure of DRV: derivations that a program from elsewhere builds, or whose name OWN?
refuses, and sources with a program in them."
  (call-with-values (lambda () (bootstrap-closure store))
    (lambda (items outputs)
      (define (of-bootstrap? program)
        (match (string-split program #\/)
          (("" "gnu" "store" item _ ...) (hash-ref outputs (string-append (%store-prefix) "/" item)))
          (_ #f)))
      (define (foreign? item)
        (if (derivation-path? item)
            (let* ((drv (read-derivation-from-file item))
                   (builder (derivation-builder drv)))
              (not (and (own? (derivation-name drv))
                        (if (string-prefix? "builtin:" builder)
                            (fixed-output-derivation? drv)
                            (of-bootstrap? builder)))))
            (has-program? item)))
      (filter foreign?
              (remove (lambda (item) (hash-ref items item))
                      (requisites store (list (derivation-file-name drv))))))))
