;; SPDX-License-Identifier: GPL-3.0-or-later
;; Loads a module of final inputs for another system than the one that Guix runs on, against stubs of Guix's modules.
;;
;;   guile other-system.scm STUBS FILE SYSTEM
(add-to-load-path (cadr (command-line)))
(use-modules (guix packages)
             (guix utils)
             (ice-9 match))

(match (cddr (command-line))
  ((file system)
   (add-to-load-path (dirname file))
   (let* ((name (string->symbol (basename file ".scm")))
          (inputs (module-ref (resolve-interface (list name)) '%final-inputs))
          (ours (cadr (assoc "libc" inputs)))
          ;; Toolchains for all systems name that of the system that Guix runs on.
          (theirs (module-ref (resolve-interface '(gnu packages commencement)) 'glibc-final)))
     (for-each (match-lambda
                 ((what . #f) (error "not so:" what))
                 (_ #t))
               `((supported . ,(member system %supported-systems))
                 (stands-for-it-there . ,(eq? (package->bag theirs system #f)
                                              (package->bag ours system #f)))
                 (nowhere-else . ,(not (eq? (package->bag theirs (%current-system) #f)
                                            (package->bag ours (%current-system) #f)))))))))
