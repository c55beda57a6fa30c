;; SPDX-License-Identifier: GPL-3.0-or-later
;; Has a daemon realise downloads, and prints what came of each: NAME and the output, or NAME and `failed'.
;;
;;   guix repl -- downloads.scm URL FILE DIRECTORY
;;
;; URL is that of a server that has the bytes of FILE as /x.tar, /pool/x.tar and /by-hash/ALGORITHM/BASE16. DIRECTORY holds
;; derivations as bootstrap writes them (*.drv), with the texts that they refer to beside them (*.text).
(use-modules (guix)
             (guix base16)
             (guix build utils)
             (guix derivations)
             (guix download)
             (guix hash)
             (guix monads)
             (guix packages)
             (gcrypt hash)
             (ice-9 ftw)
             (ice-9 match)
             (ice-9 textual-ports)
             (rnrs bytevectors)
             (srfi srfi-34))

(define (report name thunk)
  (format #t "~a ~a~%" name
          (catch #t
            thunk
            (lambda (key . arguments)
              (format (current-error-port) "~a: ~s ~s~%" name key arguments)
              "failed")))
  (force-output))

(define (realise store drv)
  (build-derivations store (list drv))
  (derivation->output-path drv))

(define (program-hash file)
  "The hash of FILE as a program."
  (let ((copy (string-append file ".program")))
    (copy-file file copy)
    (chmod copy #o755)
    (file-hash* copy #:recursive? #t)))

(match (cdr (command-line))
  ((base file directory)
   (let* ((bytes (call-with-input-file file get-string-all))
          (contents (string->utf8 bytes))
          (url (string-append base "/x.tar")))
     (with-store store
       (set-build-options store #:use-substitutes? #f #:print-build-trace #f)
       (define* (download url #:key (algorithm 'sha256) (name "x.tar")
                          (hash (bytevector-hash contents (lookup-hash-algorithm algorithm)))
                          recursive? (variables '()) (sources '()))
         (realise store
                  (derivation store name "builtin:download" '()
                              #:hash-algo algorithm #:hash hash #:recursive? recursive?
                              #:sources sources
                              #:env-vars `(("url" . ,(object->string url)) ,@variables))))
       (report "string" (lambda () (download url #:name "a")))
       (report "list" (lambda () (download (list (string-append base "/none") url) #:name "b")))
       (report "unknown-scheme"
               (lambda () (download (list "apt-source:sed=4.9-1/sed_4.9.orig.tar.xz" url) #:name "c")))
       (for-each (lambda (algorithm)
                   (report algorithm
                           (lambda ()
                             (download url #:algorithm algorithm
                                       #:name (symbol->string algorithm)))))
                 '(md5 sha1 sha512 sha3-256 sha3-512 blake2s-256))
       (report "program"
               (lambda ()
                 (download url #:name "program" #:recursive? #t
                           #:hash (program-hash file)
                           #:variables '(("executable" . "1")))))
       (report "mirrors"
               (lambda ()
                 (let ((mirrors (add-text-to-store
                                 store "mirrors"
                                 (object->string `((mine ,(string-append base "/pool")))))))
                   (download "mirror://mine/x.tar" #:name "d"
                             #:sources (list mirrors)
                             #:variables `(("mirrors" . ,mirrors))))))
       (report "by-hash"
               (lambda ()
                 (let ((code (add-text-to-store
                              store "content-addressed-mirrors"
                              (object->string
                               `(begin
                                  (use-modules (guix base16) (guix base32))
                                  (list (lambda (file algo hash)
                                          (string-append ,base "/by-hash/" (symbol->string algo)
                                                         "/" (bytevector->base16-string hash)))))))))
                   (download (string-append base "/none") #:name "e"
                             #:sources (list code)
                             #:variables `(("content-addressed-mirrors" . ,code))))))
       (report "origin"
               (lambda ()
                 (realise store
                          (run-with-store store
                            (url-fetch url 'sha256 (sha256 contents) "f")))))
       (report "local" (lambda () (download (string-append "file://" file) #:name "g")))
       (report "path" (lambda () (download file #:name "h")))
       (report "wrong-hash" (lambda () (download url #:name "i" #:hash (sha256 (string->utf8 "?")))))
       (for-each (lambda (text)
                   (add-text-to-store store
                                      (basename text ".text")
                                      (call-with-input-file (string-append directory "/" text)
                                        get-string-all)))
                 (scandir directory (lambda (name) (string-suffix? ".text" name))))
       (for-each (lambda (name)
                   (report name
                           (lambda ()
                             (let* ((text (call-with-input-file (string-append directory "/" name)
                                            get-string-all))
                                    (drv (call-with-input-string text read-derivation))
                                    (path (add-text-to-store
                                           store name text
                                           (append (map derivation-input-path (derivation-inputs drv))
                                                   (derivation-sources drv)))))
                               (realise store (read-derivation-from-file path))))))
                 (scandir directory (lambda (name) (string-suffix? ".drv" name))))))))
