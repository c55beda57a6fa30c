;; SPDX-License-Identifier: GPL-3.0-or-later
;; Packages for operations.sh: a library that says a word, and a program that prints it.
(define-module (operations)
  #:use-module (bootstrap-inputs)
  #:use-module (guix build-system gnu)
  #:use-module (guix download)
  #:use-module (guix gexp)
  #:use-module ((guix licenses) #:prefix license:)
  #:use-module (guix packages))

(define* (greeting name version #:key replacement (inputs '()))
  (package
    (name name)
    (version version)
    ;; The client reads the file itself: the hash is not checked.
    (source (origin
              (method url-fetch)
              (uri (string-append "file:///scratch/" name "-" version ".tar.gz"))
              (sha256 (content-hash
                       "0000000000000000000000000000000000000000000000000000"))))
    (build-system gnu-build-system)
    (inputs inputs)
    (replacement replacement)
    (home-page "https://www.gnu.org/")
    (synopsis "Greet")
    (description "Greet.")
    (license license:gpl3+)))

(define-public libgreet (greeting "libgreet" "1.0"))
(define-public libhail (greeting "libhail" "1.0"))
(define-public greet (greeting "greet" "1.0" #:inputs (list libgreet)))

(define libmoo-fixed (greeting "libmoo" "1.1"))
(define-public libmoo (greeting "libmoo" "1.0" #:replacement libmoo-fixed))
(define-public moo (greeting "moo" "1.0" #:inputs (list libmoo)))
