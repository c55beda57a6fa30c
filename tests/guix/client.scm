;; SPDX-License-Identifier: GPL-3.0-or-later
;; What the unmodified Guix client asks of the daemon, with the answers that guix-daemon gives. Run by daemon.sh.
(use-modules (guix store)
             (guix derivations)
             (guix scripts processes)
             (guix base32)
             (guix base16)
             (gcrypt hash)
             (rnrs bytevectors)
             (srfi srfi-1)
             (srfi srfi-34)
             (ice-9 textual-ports))

(define passed 0)
(define failed 0)

(define-syntax-rule (expect name expression)
  (let ((result (guard (c ((store-protocol-error? c)
                           (list 'error (store-protocol-error-status c)
                                 (store-protocol-error-message c))))
                  expression)))
    (if (eq? result #t)
        (begin (set! passed (+ passed 1)) (format #t "pass: ~a~%" name))
        (begin (set! failed (+ failed 1)) (format #t "FAIL: ~a: ~s~%" name result)))))

;; The status with which EXPRESSION fails, and whether the message has TEXT.
(define-syntax-rule (fails-with status text expression)
  (guard (c ((store-protocol-error? c)
             (or (and (= status (store-protocol-error-status c))
                      (string-contains (store-protocol-error-message c) text)
                      #t)
                 (list (store-protocol-error-status c) (store-protocol-error-message c)))))
    expression
    'no-error))

(define (log-of thunk)
  (call-with-output-string
    (lambda (port)
      (parameterize ((current-build-output-port port)) (thunk)))))

(define absent (string-append (%store-prefix) "/" (make-string 32 #\0) "-absent"))
(define odd (string-append (%store-prefix) "/" (make-string 32 #\e) "-odd"))

(define store (open-connection))
(define text (add-text-to-store store "text" "content" '()))
(define referrer (add-text-to-store store "referrer" text (list text)))
(define builder (add-to-store store "builder" #t "sha256" "/scratch/builder"))

(expect "valid-path?" (and (valid-path? store text) (not (valid-path? store absent))))
(expect "valid-path? of an odd name" (not (valid-path? store odd)))
(expect "valid-path? outside the store"
  (fails-with 1 "is not in the store" (valid-path? store "/etc/passwd")))
(expect "add-text-to-store"
  (string=? text (store-path "text" (sha256 (string->utf8 "content")) "text")))
(expect "references" (equal? (references store referrer) (list text)))
(expect "referrers" (equal? (referrers store text) (list referrer)))
(expect "query-path-hash"
  (bytevector=? (query-path-hash store builder)
                 (path-info-hash (query-path-info store builder))))
(expect "query-path-info of what is not valid"
  (fails-with 1 "is not valid" (query-path-info store absent)))
(expect "hash-part->path"
  (string=? builder (hash-part->path store (store-path-hash-part builder))))
(expect "add-to-store, flat and by other hashes"
  (let ((file "/scratch/builder"))
    (every (lambda (name algorithm)
             (string=? (add-to-store store "flat" #f name file)
                       (fixed-output-path "flat" (file-hash algorithm file)
                                          #:hash-algo (string->symbol name) #:recursive? #f)))
           '("sha256" "sha1" "sha512")
           (list (hash-algorithm sha256) (hash-algorithm sha1) (hash-algorithm sha512)))))
(expect "add-to-store of a tree"
  (valid-path? store (add-to-store store "tree" #t "sha256" "/usr/share/guile/site/3.0/guix/build")))
(expect "add-file-tree-to-store"
  (valid-path? store (add-file-tree-to-store store `("top" directory ("file" regular (data "x"))))))
;; A session does not see its own temporary roots when it collects, as with guix-daemon; it sees those of others.
(define other (open-connection))
(add-temp-root other text)
(expect "temporary roots are live" (->bool (member text (live-paths store))))
(expect "nothing that is live is dead" (not (member text (dead-paths store))))
(expect "what is live is not deleted"
  (fails-with 1 "alive" (delete-paths store (list text))))
(expect "add-indirect-root and find-roots"
  (begin
    (false-if-exception (delete-file "/scratch/root"))
    (symlink builder "/scratch/root")
    (add-indirect-root store "/scratch/root")
    (->bool (member (cons "/scratch/root" builder) (find-roots store)))))
(expect "failed paths"
  (and (null? (query-failed-paths store)) (clear-failed-paths store (list absent))))
(expect "substitute-urls" (pair? (substitute-urls store)))
(expect "built-in-builders" (->bool (member "download" (built-in-builders store))))
(expect "verify-store" (and (verify-store store) (verify-store store #:check-contents? #t)))
(expect "ensure-path of what no server has"
  (fails-with 1 "cannot be created" (ensure-path store absent)))
(expect "substitutes" (and (null? (substitutable-paths store (list absent)))
                          (null? (substitutable-path-info store (list absent)))
                          (not (has-substitutes? store absent))))

(define* (drv name . arguments)
  (derivation store name builder arguments #:sources (list builder)))

(define good (drv "good" "first"))
(expect "a derivation has the outputs that Guix computes"
  (equal? (query-derivation-outputs store (derivation-file-name good))
          (list (derivation->output-path good))))
(expect "build-derivations" (build-derivations store (list good)))
(expect "what was built" (string=? "made first\n"
                                  (call-with-input-file (derivation->output-path good)
                                    get-string-all)))
(expect "the deriver of what was built"
  (string=? (derivation-file-name good)
            (path-info-deriver (query-path-info store (derivation->output-path good)))))
(expect "valid-derivers"
  (equal? (valid-derivers store (derivation->output-path good))
          (list (derivation-file-name good))))
(expect "a derivation that needs another"
  (let* ((second (derivation store "second" builder '("next")
                             #:sources (list builder) #:inputs (list (derivation-input good)))))
    (build-derivations store (list second))))
(expect "build traces"
  (let ((log (log-of (lambda ()
                       (set-build-options store #:print-build-trace #t
                                          #:multiplexed-build-output? #t)
                       (build-derivations store (list (drv "traced" "x")))))))
    (and (string-contains log "@ build-started /gnu/store/")
         (string-contains log "@ build-log ")
         (string-contains log "hello from the builder")
         (->bool (string-contains log "@ build-succeeded ")))))
(expect "a build that fails has status 100"
  (fails-with 100 "build of `/gnu/store/" (build-derivations store (list (drv "bad" "fail")))))
(expect "a build that takes too long has status 101"
  (begin
    (set-build-options store #:timeout 1)
    (fails-with 101 "build of `/gnu/store/" (build-derivations store (list (drv "slow" "sleep"))))))
(set-build-options store)
(expect "build-mode check of what is the same"
  (build-things store (list (derivation-file-name good)) (build-mode check)))
(expect "build-mode check of what differs"
  (let ((random (drv "random" "random")))
    (build-derivations store (list random))
    (fails-with 1 "not be deterministic"
                (build-things store (list (derivation-file-name random)) (build-mode check)))))
(define (damage file)
  (chmod file #o644)
  (call-with-output-file file (lambda (port) (display "changed" port))))
(expect "build-mode repair of an output"
  (let ((output (derivation->output-path good)))
    (damage output)
    (build-things store (list (derivation-file-name good)) (build-mode repair))
    (string=? "made first\n" (call-with-input-file output get-string-all))))
(expect "build-mode repair of what was not built"
  (let ((late (drv "late" "late")))
    (build-things store (list (derivation-file-name late)) (build-mode repair))
    (valid-path? store (derivation->output-path late))))
(expect "verify-store repairs"
  (let ((output (derivation->output-path good)))
    (delete-file output)
    (and (verify-store store #:repair? #t)
         (string=? "made first\n" (call-with-input-file output get-string-all)))))
(expect "an output by name"
  (build-derivations store (list (cons good "out"))))
(expect "a fixed output"
  (let ((fixed (derivation store "fixed" builder '("fixed") #:sources (list builder)
                           #:hash-algo 'sha256
                           #:hash (sha256 (string->utf8 "made fixed\n")))))
    (build-derivations store (list fixed))))
(expect "a fixed output of another hash"
  (let ((fixed (derivation store "wrong" builder '("wrong") #:sources (list builder)
                           #:hash-algo 'sha256 #:hash (sha256 (string->utf8 "other")))))
    (fails-with 1 "build of" (build-derivations store (list fixed)))))
(expect "rounds"
  (begin
    (set-build-options store #:rounds 2)
    (fails-with 1 "build of"
                (build-derivations store (list (drv "twice" "random"))))))
(expect "nothing valid where rounds differ"
  (not (valid-path? store (derivation->output-path (drv "twice" "random")))))
(set-build-options store)
(expect "several builds in one call"
  (build-derivations store (map (lambda (n) (drv (format #f "many-~a" n) "x")) (iota 20))))

(expect "guix processes: both sessions of this client, and none without a client"
  (let ((clients (map (compose process-id daemon-session-client) (daemon-sessions))))
    (or (equal? (filter (lambda (client) (= client (getpid))) clients)
                (list (getpid) (getpid)))
        clients)))

(close-connection other)
(close-connection store)
(format #t "~a passed, ~a failed~%" passed failed)
(exit (zero? failed))
