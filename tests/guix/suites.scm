;;; SPDX-License-Identifier: GPL-3.0-or-later
;;; Runs files of Guix's own test suite with `guix repl'. Prints a line for each test: `pass', `fail' or `skip', the
;;; file, and the test's name.
;;;
;;; usage: guix repl -- suites.scm FILE...

(use-modules (ice-9 format)
             (ice-9 match)
             (srfi srfi-64))

(define (result->text kind)
  (match kind
    ((or 'pass 'xpass) "pass")
    ((or 'skip 'xfail) "skip")
    (_ "fail")))

(define (runner file)
  (let ((runner (test-runner-null)))
    (test-runner-on-test-end! runner
      (lambda (runner)
        (format (current-error-port) "~%;;; ~s~%" (test-result-alist runner))
        (format #t "@ ~a ~a: ~a~%" (result->text (test-result-kind runner))
                (basename file) (test-runner-test-name runner))
        (force-output)))
    runner))

(match (command-line)
  ((_ files ...)
   (for-each (lambda (file)
               (test-runner-factory (lambda () (runner file)))
               (test-runner-current #f)
               (catch #t
                 (lambda ()
                   (save-module-excursion
                    (lambda () (primitive-load file))))
                 (lambda (key . arguments)
                   (format #t "@ fail ~a: ended by ~a ~s~%" (basename file) key arguments))))
             files)))
