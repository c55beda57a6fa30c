;; SPDX-License-Identifier: GPL-3.0-or-later
;; Has a daemon realise derivations, and prints what came of each: NAME, its outputs and their hashes; or NAME and `failed'.
;;
;;   guix repl -- derivations.scm BUILDER HOST PORT
;;
;; BUILDER is the static program of tests/build/toy.c. A server listens at HOST and PORT; where HOST is `none', builds of fixed
;; outputs do not try to reach it.
(use-modules (guix)
             (guix base32)
             (guix derivations)
             (guix hash)
             (gcrypt hash)
             (ice-9 binary-ports)
             (ice-9 match)
             (rnrs bytevectors)
             (srfi srfi-1)
             (srfi srfi-34))

(define (report name thunk)
  (format #t "~a ~a~%" name
          (catch #t
            thunk
            (lambda (key . arguments)
              (format (current-error-port) "~a: ~s ~s~%" name key arguments)
              "failed")))
  (force-output))

(match (cdr (command-line))
  ((program host port)
   (with-store store
     (set-build-options store #:use-substitutes? #f #:print-build-trace #f #:max-silent-time 20 #:timeout 30
                        #:offload? #f)
     (let* ((builder (add-to-store store "toy" #t "sha256" program))
            (connect (string-append "connect " (if (string=? host "none") "127.0.0.1" host) " " port))
            (fixed (if (string=? host "none") '() (list connect)))
            (file (string-append (dirname program) "/bytes"))
            (contents (string->utf8 "bytes")))
       (call-with-output-file file (lambda (port) (display "bytes" port)))
       (define* (make name commands #:key (variables '()) (inputs '()) (system "x86_64-linux") (outputs '("out"))
                      (sources '()) algorithm hash recursive?)
         (derivation store name builder commands
                     #:env-vars variables #:inputs (map derivation-input inputs) #:system system #:outputs outputs
                     #:sources (cons builder sources)
                     #:hash-algo algorithm #:hash hash #:recursive? recursive?))
       (define (realise drv)
         (build-derivations store (list drv))
         (string-join
          (append-map (match-lambda
                        ((name . output)
                         (let* ((path (derivation-output-path output))
                                (info (query-path-info store path)))
                           (list path
                                 (bytevector->nix-base32-string (path-info-hash info))
                                 (string-join (map basename (path-info-references info)) ",")))))
                      (derivation-outputs drv))))
       (define-syntax-rule (try name arguments ...)
         (report name (lambda () (realise (make name arguments ...)))))
       (define (file-in-graph drv name)
         (string-append name " " (derivation->output-path drv)))

       ;; Fixed outputs, by a program that has the network.
       (for-each (lambda (algorithm)
                   (let ((type (lookup-hash-algorithm algorithm)))
                     (report (format #f "flat-~a" algorithm)
                             (lambda ()
                               (realise (make (format #f "flat-~a" algorithm) (append fixed '("write $out bytes"))
                                              #:algorithm algorithm
                                              #:hash (bytevector-hash contents type)))))
                     (report (format #f "tree-~a" algorithm)
                             (lambda ()
                               (realise (make (format #f "tree-~a" algorithm) (append fixed '("write $out bytes"))
                                              #:algorithm algorithm #:recursive? #t
                                              #:hash (file-hash* file #:algorithm type #:recursive? #t)))))))
                 '(md5 sha1 sha256 sha512 sha3-256 sha3-512 blake2s-256))
       (try "wrong-hash" '("write $out bites") #:algorithm 'sha256 #:hash (sha256 contents))
       (try "fixed-program" '("write $out bytes" "chmod $out 755") #:algorithm 'sha256 #:hash (sha256 contents))
       (try "fixed-directory" '("mkdir $out") #:algorithm 'sha256 #:hash (sha256 contents))
       (try "no-network" (list connect "write $out bytes"))

       ;; References and requisites.
       (let* ((low (make "low" '("write $out low")))
              (middle (make "middle" '("write $out $low") #:inputs (list low)
                            #:variables `(("low" . ,(derivation->output-path low)))))
              (paths `(("low" . ,(derivation->output-path low))
                       ("middle" . ,(derivation->output-path middle)))))
         (define (rule name command attribute value)
           (report name
                   (lambda ()
                     (realise (make name (list command) #:inputs (list low middle)
                                    #:variables `((,attribute . ,value) ,@paths))))))
         (define low* (derivation->output-path low))
         (define middle* (derivation->output-path middle))
         (rule "disallowed" "write $out $low" "disallowedReferences" low*)
         (rule "disallowed-absent" "write $out $middle" "disallowedReferences" low*)
         (rule "disallowed-self" "write $out $out" "disallowedReferences" "out")
         (rule "allowed" "write $out $low" "allowedReferences" low*)
         (rule "allowed-self" "write $out $out" "allowedReferences" "out")
         (rule "allowed-nothing" "write $out $low" "allowedReferences" "")
         (rule "allowed-other" "write $out $middle" "allowedReferences" low*)
         (rule "disallowed-requisite" "write $out $middle" "disallowedRequisites" low*)
         (rule "disallowed-requisite-absent" "write $out $low" "disallowedRequisites" middle*)
         (rule "allowed-requisites" "write $out $middle" "allowedRequisites"
               (string-append low* " " middle*))
         (rule "allowed-requisites-lacking" "write $out $middle" "allowedRequisites" middle*)
         (rule "rule-no-path" "write $out x" "allowedReferences" "/usr/lib")
         ;; The graph of references, also of derivations.
         (for-each (match-lambda
                     ((name value sources ...)
                      (report name
                              (lambda ()
                                (build-derivations store (list middle))
                                (realise (make name '("copy $NIX_BUILD_TOP/graph $out")
                                               #:inputs (list low middle) #:sources sources
                                               #:variables `(("exportReferencesGraph" . ,value))))))))
                   `(("graph" ,(string-append "graph " middle*))
                     ("graph-below" ,(string-append "graph " middle* "/bin"))
                     ("graph-of-derivation" ,(string-append "graph " (derivation-file-name middle))
                      ,(derivation-file-name middle))
                     ("graph-odd" "graph")
                     ("graph-outside" "graph /etc/passwd")
                     ("graph-name" ,(string-append "../graph " middle*)))))

       ;; Variables.
       (try "impure" '("write $out $http_proxy") #:variables '(("impureEnvVars" . "http_proxy absent")))
       (try "impure-fixed" '("write $out $http_proxy") #:algorithm 'sha256 #:hash (sha256 (string->utf8 "http://a.proxy:1"))
            #:variables '(("impureEnvVars" . "http_proxy absent")))
       (try "seed" '("write $out $seed") #:variables '(("seed" . "42")))
       (try "newline" '("write $out $text") #:variables '(("text" . "one\ntwo\t\"three\" \\")))
       ;; A byte that is not UTF-8, which Guix's client cannot write.
       (report "not-utf8"
               (lambda ()
                 (let* ((drv (make "not-utf8" '("write $out $raw") #:variables '(("raw" . "@"))
                                   #:algorithm 'sha256 #:hash (sha256 #vu8(255))))
                        (text (call-with-input-file (derivation-file-name drv) get-bytevector-all))
                        (bytes (map (lambda (byte) (if (= byte 64) 255 byte)) (bytevector->u8-list text)))
                        (raw (add-data-to-store store "not-utf8.drv" (u8-list->bytevector bytes)
                                                (list builder)))
                        (output (derivation->output-path drv)))
                   (build-things store (list raw))
                   (string-append output " "
                                  (bytevector->nix-base32-string
                                   (path-info-hash (query-path-info store output)))))))
       (try "standard" '("write $out $NIX_STORE" "append $out $HOME" "append $out $PATH" "append $out $TMPDIR"))
       (try "two-outputs" '("mkdir $out" "write $lib $out") #:outputs '("out" "lib"))
       (try "two-outputs-lacking" '("mkdir $out") #:outputs '("out" "lib"))
       (try "no-output" '("say nothing"))
       (try "exit" '("mkdir $out" "exit 3"))

       ;; Attributes that are for the client or for offloading only.
       (for-each (match-lambda
                   ((name . value)
                    (report name
                            (lambda ()
                              (realise (make (string-append "attribute-" name) '("write $out fine")
                                             #:variables `((,name . ,value))))))))
                 '(("timeout" . "1") ("max-silent-time" . "1") ("requiredSystemFeatures" . "kvm huge")
                   ("preferLocalBuild" . "1") ("allowSubstitutes" . "0")))

       ;; Systems.
       (for-each (lambda (system)
                   (report system
                           (lambda ()
                             (realise (make system '("machine $out") #:system system)))))
                 '("i686-linux" "aarch64-linux" "i586-gnu" "x86_64-freebsd" "builtin"))

       ;; Rounds, and building again: what the client reports, and what is valid afterwards.
       (let* ((random (make "random" '("copy /proc/sys/kernel/random/uuid $out")))
              (output (derivation->output-path random))
              (told (lambda (mode)
                      (lambda ()
                        (format #f "~a; ~a"
                                (guard (c ((store-protocol-error? c)
                                           (format #f "~a: ~a" (store-protocol-error-status c)
                                                   (store-protocol-error-message c))))
                                  (build-derivations store (list random) mode))
                                (if (valid-path? store output) "valid" "not valid"))))))
         (set-build-options store #:use-substitutes? #f #:print-build-trace #f #:rounds 2 #:offload? #f)
         (try "two-rounds" '("write $out same"))
         (report "rounds-that-differ" (told (build-mode normal)))
         ;; Options that are not named stay as they are with guix-daemon.
         (set-build-options store #:use-substitutes? #f #:print-build-trace #f #:rounds 1 #:offload? #f)
         (report "random" (told (build-mode normal)))
         (report "random-again" (told (build-mode check))))))))
