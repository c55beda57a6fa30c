;; SPDX-License-Identifier: GPL-3.0-or-later
;; Builds packages of Guix's, by their unmodified definitions, on the inputs of the module (bootstrap-inputs), and prints
;; a table. Run by packages.sh, as: guix repl packages.scm [--check] [--rounds=N] [--together=JOBS] [--hashes]
;; [--known="NAME..."] NAME...
(add-to-load-path "/scratch/channel")
(add-to-load-path "/scratch")
(use-modules (guix)
             (guix base32)
             (guix derivations)
             (guix store)
             (guix transformations)
             (gnu packages)
             (bootstrap-inputs)
             (foreign)
             (ice-9 match)
             (ice-9 popen)
             (ice-9 textual-ports)
             (srfi srfi-1)
             (srfi srfi-19)
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

(define (seconds-now)
  (let ((now (current-time time-monotonic)))
    (+ (time-second now) (/ (time-nanosecond now) 1e9))))

;; Derivation -> when its build began, and derivation -> how many seconds it took, by what the daemon prints.
(define %starts (make-hash-table))
(define %seconds (make-hash-table))

(define (note-line line)
  (match (string-tokenize line)
    (("@" "build-started" drv . _) (hash-set! %starts drv (seconds-now)))
    (("@" (or "build-succeeded" "build-failed") drv . _)
     (let ((start (hash-ref %starts drv)))
       (when start (hash-set! %seconds drv (- (seconds-now) start)))))
    (_ #f)))

;; What came after the last line break.
(define %rest "")

(define (note-text text)
  (match (string-split (string-append %rest text) #\newline)
    ((lines ... rest)
     (for-each note-line lines)
     (set! %rest rest))))

;; Takes what builds and daemon print, and keeps only what note-line makes of it.
(define tracing-port
  (make-soft-port
   (vector (lambda (character) (note-text (string character))) note-text (const #t) #f #f)
   "w"))

(define (print-hashes store drv)
  "Print a line for each output of DRV: its path, and the hash that the daemon has of its contents."
  (for-each (match-lambda
              ((_ . path)
               (format #t "~a sha256:~a~%" path
                       (bytevector->nix-base32-string (path-info-hash (query-path-info store path))))))
            (derivation->output-paths drv)))

(define (build-log store drv)
  "Return the text of the log of DRV's build, or \"\" where there is none."
  (match (log-file store drv)
    ((? string? file)
     (let* ((pipe (open-pipe* OPEN_READ (if (string-suffix? ".bz2" file) "bzip2" "gzip") "-dc" file))
            (text (begin
                    (set-port-encoding! pipe "UTF-8")
                    (set-port-conversion-strategy! pipe 'substitute)
                    (get-string-all pipe))))
       (close-pipe pipe)
       text))
    (_ "")))

(define (find-package spec)
  "Return the package of SPEC, a name, or NAME=FILE where FILE is to be its source."
  (match (string-index spec #\=)
    (#f (specification->package spec))
    (index
     (let ((name (substring spec 0 index))
           (file (substring spec (+ index 1))))
       (unless (file-exists? file)
         (error "no file" file))
       ((options->transformation `((with-source . ,spec))) (specification->package name))))))

(define (lower store name)
  "Return the derivation of the package NAME, or what is wrong with it."
  (catch #t
    (lambda ()
      (guard (c ((store-protocol-error? c) (store-protocol-error-message c)))
        (let* ((drv (package-derivation store (find-package name) #:graft? #f))
               (foreign (foreign-items store drv)))
          (if (pair? foreign)
              (string-append "foreign: " (string-join (map basename (take foreign (min 3 (length foreign)))) " "))
              drv))))
    (lambda (key . arguments)
      (match key
        ;; What Guix's commands do once they have said it.
        ('quit "Guix knows no package of this name")
        (_ (format #f "~a: ~s" key arguments))))))

(define (build store drvs mode)
  "Build DRVS and return #t, or the daemon's message."
  (guard (c ((store-protocol-error? c) (store-protocol-error-message c)))
    (parameterize ((current-build-output-port tracing-port))
      (build-derivations store drvs mode)
      #t)))

(define (built? store drv)
  (every (match-lambda ((_ . path) (valid-path? store path)))
         (derivation->output-paths drv)))

(define (unfetched store drv)
  "Return the name of a source that DRV is built from, and that could not be fetched, or #f."
  (define (there? input) (built? store (derivation-input-derivation input)))
  (any (lambda (drv)
         (and (fixed-output-derivation? drv) (not (built? store drv))
              (basename (derivation-file-name drv) ".drv")))
       (cons drv (map derivation-input-derivation (derivation-prerequisites drv there?)))))

(define (report store name drv message)
  "Print the line of the package NAME, whose derivation is DRV; MESSAGE is #t or what went wrong.  Return 'ok, 'known,
'unfetched or 'failed."
  (let* ((file (and (derivation? drv) (derivation-file-name drv)))
         (well? (eq? message #t))
         (source (and file (not well?) (not (built? store drv)) (unfetched store drv)))
         (line (cond ((or well? (not file)) "")
                     (source (string-append "not fetched: " source))
                     (else (first-error (build-log store file))))))
    (format #t "~30a ~7@a  ~a~%" (car (string-split name #\=))
            (match (and file (hash-ref %seconds file))
              (#f "-")
              (seconds (format #f "~,1f" seconds)))
            (if well? "ok" (cut (string-append message (if (string-null? line) "" (string-append " | " line))) 300)))
    (when (and well? hashes?)
      (print-hashes store drv))
    (force-output)
    (cond (well? 'ok)
          (source 'unfetched)
          ((member (car (string-split name #\=)) %known) 'known)
          (else 'failed))))

(define (option? argument) (string-prefix? "--" argument))
(define (option name default)
  (or (any (lambda (argument)
             (and (string-prefix? (string-append name "=") argument)
                  (string->number (substring argument (+ 1 (string-length name))))))
           (cdr (command-line)))
      default))

;; The packages that fail for reasons of their own.
(define %known
  (or (any (lambda (argument)
             (and (string-prefix? "--known=" argument)
                  (string-tokenize (substring argument (string-length "--known=")))))
           (cdr (command-line)))
      '()))

(define names (remove option? (cdr (command-line))))
(define check? (member "--check" (cdr (command-line))))
(define hashes? (member "--hashes" (cdr (command-line))))
(define jobs (option "--together" #f))

(define (build-one store drv)
  (let ((message (build store (list drv) (build-mode normal))))
    (if (and check? (eq? message #t))
        (begin
          (hash-remove! %seconds (derivation-file-name drv))
          (build store (list drv) (build-mode check)))
        message)))

(define start (seconds-now))
(define results
  (with-store store
    (set-build-options store #:print-build-trace #t #:use-substitutes? #f #:keep-going? #t
                       #:max-build-jobs (or jobs 1) #:rounds (option "--rounds" 1)
                       #:timeout 3600 #:max-silent-time 1200)
    (let ((drvs (map (lambda (name) (lower store name)) names)))
      (if jobs
          (let ((message (build store (filter derivation? drvs) (build-mode normal))))
            (unless (eq? message #t)
              (format #t "~a~%" (cut message 300)))
            (map (lambda (name drv)
                   (report store name drv
                           (cond ((not (derivation? drv)) drv)
                                 ((built? store drv) #t)
                                 (else "not built"))))
                 names drvs))
          (map (lambda (name drv)
                 (report store name drv (if (derivation? drv) (build-one store drv) drv)))
               names drvs)))))

(define (how-many result) (count (lambda (other) (eq? result other)) results))
(format #t "~a of ~a ~a, ~a failed, ~a fail as is known, ~a with a source that could not be fetched, ~,1f s in all~%"
        (how-many 'ok) (length names) (if check? "built twice and the same" "built")
        (how-many 'failed) (how-many 'known) (how-many 'unfetched) (- (seconds-now) start))
(exit (if (zero? (how-many 'failed)) 0 1))
