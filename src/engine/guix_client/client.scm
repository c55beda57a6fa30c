;; SPDX-License-Identifier: GPL-3.0-or-later

;; What `bootstrap doctor --guix' asks a Guix client. Run as: guix repl -- client.scm QUESTION ARGUMENT...
;; Each run prints one line: (bootstrap-doctor (FIELD VALUE) ...). Where something fails the only field is `error'.

(use-modules (guix base16)
             (guix config)
             (guix derivations)
             (guix packages)
             (guix store)
             (guix utils)
             (ice-9 match)
             (srfi srfi-34)
             (web uri))

(define (answer . fields)
  (newline)
  (write (cons 'bootstrap-doctor fields))
  (newline))

(define (configuration)
  (let ((daemon (%daemon-socket-uri)))
    (answer `(store-directory ,%store-directory)
            `(state-directory ,%state-directory)
            `(daemon ,(if (uri? daemon) (uri->string daemon) daemon))
            `(guile ,(version))
            `(system ,(%current-system)))))

(define (derivation-emission)
  ;; No build is meant: the builder does not exist. A source, two outputs and odd characters make its text less trivial.
  (with-store store
    (let* ((source (add-text-to-store store "bootstrap-doctor-source" "source\n" '()))
           (drv (derivation store "bootstrap-doctor-lowered" "/nonexistent/builder" '("first" "")
                            #:sources (list source)
                            #:outputs '("out" "lib")
                            #:env-vars '(("variable" . "a \"value\"\n\\")))))
      (answer `(derivation ,(derivation-file-name drv))))))

(define (daemon token absent)
  (with-store store
    (let* ((path (add-text-to-store store "bootstrap-doctor" token '()))
           (info (query-path-info store path)))
      (answer `(path ,path)
              `(valid ,(valid-path? store path))
              `(absent-is-valid ,(valid-path? store absent))
              `(hash ,(bytevector->base16-string (path-info-hash info)))
              `(size ,(path-info-nar-size info))))))

(define (execution bash token)
  (with-store store
    (set-build-options store #:use-substitutes? #f)
    (let ((drv (derivation store "bootstrap-doctor-built" (string-append bash "/bin/bash")
                           (list "-c" (string-append "echo " token " > $out"))
                           #:sources (list bash))))
      (build-derivations store (list drv))
      (answer `(output ,(derivation->output-path drv))))))

(define (module directory name)
  (add-to-load-path directory)
  (resolve-interface (list (string->symbol name)))
  (let ((find (module-ref (resolve-interface '(gnu packages)) 'specification->package)))
    (with-store store
      (answer `(derivation ,(derivation-file-name
                             (package-derivation store (find "hello") #:graft? #f)))))))

(define (describe key arguments)
  (call-with-output-string
    (lambda (port)
      (print-exception port #f key arguments))))

(catch #t
  (lambda ()
    (guard (c ((store-protocol-error? c)
               (answer `(error ,(store-protocol-error-message c))))
              ((store-connection-error? c)
               (answer `(error ,(format #f "cannot connect to ~a: ~a" (store-connection-error-file c)
                                        (strerror (store-connection-error-code c)))))))
      (match (cdr (command-line))
        (("configuration") (configuration))
        (("derivation") (derivation-emission))
        (("daemon" token absent) (daemon token absent))
        (("execution" bash token) (execution bash token))
        (("module" directory name) (module directory name)))))
  (lambda (key . arguments)
    (answer `(error ,(describe key arguments)))))
