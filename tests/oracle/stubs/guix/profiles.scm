;; SPDX-License-Identifier: GPL-3.0-or-later
(define-module (guix profiles)
  #:export (%default-profile-hooks manifest-transitive-entries manifest-entry-name profile profile?))

;; Not exported, as some of Guix's.
(define (info-dir-file manifest system) (list 'info-dir system))
(define (fonts-dir-file manifest system) (list 'fonts-dir system))
(define (other manifest system) (list 'other system))

(define %default-profile-hooks
  (list info-dir-file other fonts-dir-file))

;; A manifest is a list of names.
(define (manifest-transitive-entries manifest) manifest)
(define (manifest-entry-name entry) entry)

(define-syntax-rule (profile field ...)
  '(field ...))
(define (profile? object) #t)
