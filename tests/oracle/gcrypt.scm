;; SPDX-License-Identifier: GPL-3.0-or-later
;; libgcrypt, by Debian's guile-gcrypt, as Guix uses it.
;;
;;   guile gcrypt.scm verify FILE DIGEST   is the signature in FILE good, and of DIGEST (base 16)?
;;   guile gcrypt.scm key FILE             makes a key as `guix archive --generate-key' does: FILE, and FILE.pub
;;   guile gcrypt.scm sign KEY DIGEST      prints a signature of DIGEST
;;   guile gcrypt.scm signatures KEY FROM TO   one line for each number from FROM to before TO: the base 16 of a signature of the
;;                                         SHA-256 of the number (64 bits, little-endian), in Guix's encoding
;;   guile gcrypt.scm final-inputs FILE    the names in the %final-inputs of a module, one a line, and its packages' count
(use-modules (gcrypt base16)
             (gcrypt hash)
             (gcrypt pk-crypto)
             (ice-9 match)
             (ice-9 textual-ports)
             (rnrs bytevectors))

(define (read-sexp file)
  (string->canonical-sexp (call-with-input-file file get-string-all)))

(define (write-sexp file sexp)
  (call-with-output-file file
    (lambda (port) (display (canonical-sexp->string sexp) port))))

(define (forms file)
  (call-with-input-file file
    (lambda (port)
      (let loop ((forms '()))
        (let ((form (read port)))
          (if (eof-object? form)
              (reverse forms)
              (loop (cons form forms))))))))

(match (cdr (command-line))
  (("verify" file digest)
   (let* ((signature (read-sexp file))
          (data (find-sexp-token signature 'data))
          (same? (equal? (hash-data->bytevector data)
                         (base16-string->bytevector digest)))
          (good? (verify (find-sexp-token signature 'sig-val) data
                         (find-sexp-token signature 'public-key))))
     (exit (and same? good?))))
  (("key" file)
   (let ((pair (generate-key
                (string->canonical-sexp
                 "(genkey (ecdsa (curve Ed25519) (flags rfc6979)))"))))
     (write-sexp file pair)
     (write-sexp (string-append file ".pub")
                 (find-sexp-token pair 'public-key))))
  (("sign" key digest)
   (let* ((pair (read-sexp key))
          (data (bytevector->hash-data (base16-string->bytevector digest)))
          (value (sign data (find-sexp-token pair 'private-key))))
     (format #t "(signature ~a ~a ~a)"
             (canonical-sexp->string data)
             (canonical-sexp->string value)
             (canonical-sexp->string (find-sexp-token pair 'public-key)))))
  (("signatures" key from to)
   (let* ((pair (read-sexp key))
          (secret (find-sexp-token pair 'private-key))
          (public (canonical-sexp->string (find-sexp-token pair 'public-key)))
          (number (make-bytevector 8)))
     (let loop ((count (string->number from)))
       (when (< count (string->number to))
         (bytevector-u64-set! number 0 count (endianness little))
         (let* ((data (bytevector->hash-data (sha256 number)))
                (text (string-append "(signature " (canonical-sexp->string data) " "
                                     (canonical-sexp->string (sign data secret)) " "
                                     public ")")))
           (display (bytevector->base16-string (string->utf8 text)))
           (newline)
           (loop (+ count 1)))))))
  (("final-inputs" file)
   (match (forms file)
     ((('define-module (_ ...) . _) definitions ...)
      (let ((packages (filter (match-lambda
                                (('define-public (? symbol?) ('package . _)) #t)
                                (_ #f))
                              definitions)))
        (for-each (match-lambda
                    (('define '%final-inputs ('quasiquote inputs))
                     (for-each (match-lambda
                                 ((name ('unquote (? symbol?)))
                                  (format #t "~a~%" name))
                                 ((name ('unquote (? symbol?)) (? string?))
                                  (format #t "~a~%" name)))
                               inputs))
                    (_ #t))
                  definitions)
        (format #t "~a packages~%" (length packages)))))))
