# shellcheck shell=sh disable=SC2154 # the builder defines what is not assigned here

modules=share/guile/site/3.0
compiled=lib/guile/3.0/site-ccache

# The modules of Guix, of Debian's package.
phase_unpack() {
    ar x "$source" data.tar.xz
    tar -xf data.tar.xz ./usr/share/guile/site/3.0 ./usr/share/guix
    mv usr source
    cd source || exit
}

# Commands that do nothing without guile-ssh and guile-avahi: Guix would say that it does not know them, and ask whether
# they were meant.
phase_remove_commands() {
    rm "$modules/guix/scripts/copy.scm" "$modules/guix/scripts/discover.scm" "$modules/guix/scripts/offload.scm"
}
add_phase_after apply-patches remove-commands

# guile_paths DIRECTORY: that directory of each package of Guile's, as words of Scheme.
guile_paths() {
    for directory in "$input_guile_bytestructures" "$input_guile_gcrypt" "$input_guile_git" "$input_guile_json" \
        "$input_guile_lzlib" "$input_guile_semver" "$input_guile_sqlite3" "$input_guile_zlib" "$input_guile_zstd"; do
        printf ' "%s/%s"' "$directory" "$1"
    done
}

phase_configure() {
    substitute "$modules/guix/config.scm" \
        -e "s|\"x86_64-linux\"|\"$system\"|" \
        -e 's|"/usr/bin/git"|"git"|' \
        -e "s|\"/bin/gzip\"|\"$input_gzip/bin/gzip\"|" \
        -e "s|\"/bin/bzip2\"|\"$input_bzip2/bin/bzip2\"|" \
        -e "s|\"/usr/bin/xz\"|\"$input_xz/bin/xz\"|"
    # The whole program: what Debian's does for its own directories.
    mkdir bin.new
    cat >bin.new/guix <<END
#!$input_guile/bin/guile --no-auto-compile
!#
;; SPDX-License-Identifier: GPL-3.0-or-later
(set! %load-path
      (append '("$out/$modules"$(guile_paths "$modules"))
              %load-path))
(set! %load-compiled-path
      (append '("$out/$compiled"$(guile_paths "$compiled"))
              %load-compiled-path))
(apply (module-ref (resolve-interface '(guix ui)) 'guix-main) (command-line))
END
    chmod +x bin.new/guix
    cat >compile.scm <<'END'
;; Compiles the modules below a directory into another one. As Guix does, it loads all of them first, in one process;
;; but then each is compiled in a copy of that process, so that the result does not depend on what was compiled before
;; it, and how many are compiled at a time.
(use-modules (guix build compile)
             (guix modules)
             (ice-9 ftw)
             (ice-9 match)
             (ice-9 regex)
             (srfi srfi-1)
             (system base compile))

;; These do not load without guile-ssh, guile-avahi, guile-newt, guile-parted, guile-rsvg, guile-gdbm, guile-webutils,
;; modules that only Guix's own tests have, or crypt(3). Their source is installed, since builders import it.
(define %not-compiled
  (make-regexp (string-append
                "^guix/(avahi|man-db|remote|ssh|store/ssh)\\.scm$"
                "|^gnu/installer/(dump|final|newt|parted)|^gnu/machine/"
                "|^gnu/build/svg\\.scm$|^gnu/tests/(docker|mail)\\.scm$")))

(define (scheme-files directory)
  "Return the files of modules below DIRECTORY that are compiled, in order."
  (append-map (lambda (name)
                (let ((file (if (string=? directory ".") name (string-append directory "/" name))))
                  (cond ((eq? 'directory (stat:type (lstat file))) (scheme-files file))
                        ((and (string-suffix? ".scm" name)
                              (not (regexp-exec %not-compiled file)))
                         (list file))
                        (else '()))))
              (scandir directory (lambda (name) (not (member name '("." ".."))))
                       string<?)))

(define (compile-module file target)
  (compile-file file
                #:output-file (string-append target "/" (string-drop-right file 4) ".go")
                #:opts ((@@ (guix build compile) optimization-options) file)))

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

(match (command-line)
  ((_ source target)
   (set! %load-compiled-path (cons target %load-compiled-path))
   (chdir source)
   ;; The compiler itself, before there are copies.
   (compile #f)
   (let ((files (scheme-files ".")))
     (for-each (compose resolve-interface file-name->module-name) files)
     (let loop ((files files)
                (running 0))
       (cond ((and (pair? files) (take-job! running))
              (when (zero? (primitive-fork))
                (catch #t
                  (lambda ()
                    (compile-module (first files) target)
                    (primitive-_exit 0))
                  (lambda arguments
                    (format (current-error-port) "~a: ~s~%" (first files) arguments)
                    (primitive-_exit 1))))
              (loop (cdr files) (+ running 1)))
             ((positive? running)
              (wait!)
              (when (and jobs-out (> running 1))
                (write-char #\+ jobs-out))
              (loop files (- running 1))))))))
END
}

phase_build() {
    GUILE_LOAD_PATH=$PWD/$modules$(guile_paths "$modules" | sed 's/" "/:/g; s/^ "/:/; s/"$//')
    GUILE_LOAD_COMPILED_PATH=$(guile_paths "$compiled" | sed 's/" "/:/g; s/^ "//; s/"$//')
    export GUILE_LOAD_PATH GUILE_LOAD_COMPILED_PATH
    mkdir -p "$compiled"
    guile --no-auto-compile compile.scm "$PWD/$modules" "$PWD/$compiled"
    unset GUILE_LOAD_PATH GUILE_LOAD_COMPILED_PATH
}

phase_install() {
    mkdir -p "$out/bin" "$out/share/guile/site" "$out/lib/guile/3.0"
    cp -R "$modules" "$out/share/guile/site/"
    cp -R share/guix "$out/share/"
    cp -R "$compiled" "$out/lib/guile/3.0/"
    cp bin.new/guix "$out/bin/"
}

# Installed, since it looks for its modules there.
phase_check() { :; }
phase_check_client() {
    if [ "$tests" = 1 ]; then
        "$out/bin/guix" --version | sed 1q
        "$out/bin/guix" show hello
    fi
}
add_phase_after install check-client
