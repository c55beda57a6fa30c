;; SPDX-License-Identifier: GPL-3.0-or-later
;; Compiles modules of Guile.
;;
;;   guile --no-auto-compile compile.scm SOURCE TARGET NOT-COMPILED FILE...
;;
;; Each FILE, or what is below it where it is a directory, is looked for in the directory SOURCE, and compiled below the
;; directory TARGET if it defines a module and does not match the regular expression NOT-COMPILED.
;;
;; As Guix does with its own modules, it loads all of them first, in one process; but then each is compiled in a copy of
;; that process, so that the result does not depend on what was compiled before it, and how many are compiled at a time.
(use-modules (ice-9 ftw)
             (ice-9 match)
             (ice-9 rdelim)
             (ice-9 regex)
             (srfi srfi-1)
             (system base compile))

(define (files-below file)
  "Return FILE, or the files below it, in order."
  (if (eq? 'directory (stat:type (lstat file)))
      (append-map (lambda (name)
                    (files-below (string-append file "/" name)))
                  (scandir file (lambda (name) (not (member name '("." "..")))) string<?))
      (list file)))

(define (module? file)
  (and (string-suffix? ".scm" file)
       (call-with-input-file file
         (lambda (port)
           (let loop ()
             (match (read-line port)
               ((? eof-object?) #f)
               ((? (lambda (line)
                     (or (string-prefix? "(define-module" line)
                         ;; R6RS.
                         (string-prefix? "(library (" line))))
                #t)
               (_ (loop)))))
         #:guess-encoding #t)))

(define options
  ;; Guix says itself how each of its modules is optimised.
  (if (search-path %load-path "guix/build/compile.scm")
      (@@ (guix build compile) optimization-options)
      (const '())))

(define (module-name file)
  (map string->symbol (string-split (string-drop-right file 4) #\/)))

(define (compile-module file target)
  (compile-file file
                #:output-file (string-append target "/" (string-drop-right file 4) ".go")
                #:opts (options file)))

;; Jobs are shared with other builds, as make and its children share them: beside the first, each takes a character from
;; a pipe and puts it back.
(define-values (jobs-in jobs-out)
  (match (string-match "--jobserver-auth=([0-9]+),([0-9]+)" (or (getenv "MAKEFLAGS") ""))
    (#f (values #f #f))
    (found (values (fdopen (string->number (match:substring found 1)) "r0")
                   (fdopen (string->number (match:substring found 2)) "w0")))))
(define most
  (or (string->number (or (getenv "NIX_BUILD_CORES") "1")) 1))

(define (take-job! running)
  "Return whether one more may run beside RUNNING."
  (cond ((zero? running) #t)
        ((not jobs-in) (< running most))
        ((char-ready? jobs-in) (char? (read-char jobs-in)))
        (else #f)))

(define (wait!)
  (match (waitpid WAIT_ANY)
    ((_ . 0) #t)
    (_ (exit 1))))

;; What was said is written only here.
(define (leave status)
  (force-output (current-error-port))
  (primitive-_exit status))

(match (command-line)
  ((_ source target not-compiled files ...)
   (set! %load-path (cons source %load-path))
   (set! %load-compiled-path (cons target %load-compiled-path))
   (chdir source)
   ;; The compiler itself, before there are copies.
   (compile #f)
   (let* ((excluded (make-regexp not-compiled))
          (modules (filter (lambda (file)
                             (and (module? file)
                                  (not (regexp-exec excluded file))))
                           (append-map files-below files))))
     (for-each (compose resolve-interface module-name) modules)
     (let loop ((modules modules)
                (running 0))
       (cond ((and (pair? modules) (take-job! running))
              (when (zero? (primitive-fork))
                (catch #t
                  (lambda ()
                    (compile-module (first modules) target)
                    (leave 0))
                  (lambda arguments
                    (format (current-error-port) "~a: ~s~%" (first modules) arguments)
                    (leave 1))))
              (loop (cdr modules) (+ running 1)))
             ((positive? running)
              (wait!)
              (when (and jobs-out (> running 1))
                (write-char #\+ jobs-out))
              (loop modules (- running 1))))))))
