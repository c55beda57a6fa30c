;; SPDX-License-Identifier: GPL-3.0-or-later
;; Builds packages of Guix's, by their unmodified definitions, on the inputs of the module (bootstrap-inputs), and prints
;; a table. Run by packages.sh, as: guix repl packages.scm NAME...
(add-to-load-path "/scratch")
(use-modules (guix)
             (guix derivations)
             (guix store)
             (gnu packages)
             (bootstrap-inputs)
             (ice-9 match)
             (srfi srfi-1)
             (srfi srfi-34)
             (srfi srfi-71))

;; Parts of the lines that builds print where something went wrong, in the order of how much they say.
(define %first-errors '("error: in phase" "error:" "FAIL:" "configure: error" "cannot" "could not" "failed"))

(define (first-error text)
  (let ((lines (string-split text #\newline)))
    (or (any (lambda (pattern)
               (find (lambda (line) (string-contains line pattern)) lines))
             %first-errors)
        "")))

(define (cut text most)
  (let ((text (string-map (lambda (c) (if (char-set-contains? char-set:printing c) c #\space)) text)))
    (if (> (string-length text) most) (string-append (substring text 0 most) "...") text)))

;; Whether ITEM is of Guix's own bootstrap.
(define (foreign? item)
  (any (lambda (name) (string-contains item name))
       '("-mes-boot" "-bootstrap-" "-static-binaries-" "-guile-bootstrap" "-gcc-boot" "-make-boot" "-glibc-intermediate")))

(define (build store name)
  "Build the package NAME and return the result, \"ok\" or the first error, and its seconds."
  (let* ((start (get-internal-real-time))
         (log (open-output-string))
         (result
          (catch #t
            (lambda ()
              (guard (c ((store-protocol-error? c) (store-protocol-error-message c)))
                (let* ((drv (package-derivation store (specification->package name) #:graft? #f))
                       (foreign (filter foreign? (requisites store (list (derivation-file-name drv))))))
                  (if (pair? foreign)
                      (string-append "foreign: " (string-join (map basename (take foreign (min 3 (length foreign)))) " "))
                      (begin
                        (parameterize ((current-build-output-port log))
                          (build-derivations store (list drv)))
                        #t)))))
            (lambda (key . arguments)
              (match key
                ;; What Guix's commands do once they have said it.
                ('quit "Guix knows no package of this name")
                (_ (format #f "~a: ~s" key arguments))))))
         (seconds (exact->inexact (/ (- (get-internal-real-time) start) internal-time-units-per-second))))
    (values (match result
              (#t "ok")
              (message (let ((line (first-error (get-output-string log))))
                         (string-append message (if (string-null? line) "" (string-append " | " line))))))
            seconds)))

(define names (cdr (command-line)))
(define failed 0)

(with-store store
  (set-build-options store #:print-build-trace #f #:use-substitutes? #f #:keep-going? #t
                     #:timeout 3600 #:max-silent-time 1200)
  (for-each (lambda (name)
              (let ((result seconds (build store name)))
                (unless (string=? result "ok") (set! failed (+ failed 1)))
                (format #t "~30a ~7,1f  ~a~%" name seconds (cut result 300))
                (force-output)))
            names))
(format #t "~a of ~a built~%" (- (length names) failed) (length names))
(exit (if (zero? failed) 0 1))
