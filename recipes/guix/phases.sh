# shellcheck shell=sh disable=SC2034,SC2154 # the builder defines what is not assigned here, and reads what is

# shellcheck source=SCRIPTDIR/../../stage0/guile-build-system/phases.sh
. "$input_guile_build_system/share/guile-build-system/phases.sh"
guileModules='guix.scm guix gnu.scm gnu'
# These do not load without guile-ssh, guile-avahi, guile-newt, guile-parted, guile-rsvg, guile-gdbm, guile-webutils,
# modules that only Guix's own tests have, or crypt(3). Their source is installed, since builders import it.
guileNotCompiled='^guix/(avahi|man-db|remote|ssh|store/ssh)[.]scm$'
guileNotCompiled="$guileNotCompiled|^gnu/installer/(dump|final|newt|parted)|^gnu/machine/"
guileNotCompiled="$guileNotCompiled|^gnu/build/svg[.]scm\$|^gnu/tests/(docker|mail)[.]scm\$"

# The modules of Guix and the keys of its servers, of Debian's package.
phase_unpack() {
    ar x "$source" data.tar.xz
    tar -xf data.tar.xz ./usr/share/guile/site/3.0 ./usr/share/guix
    mv usr/share/guile/site/3.0 source
    mv usr/share/guix source/keys
    cd source || exit
}

# These need guile-ssh or guile-avahi. Left in, `guix copy' answers: command not found, did you mean `copy'?
phase_remove_commands() {
    rm guix/scripts/copy.scm guix/scripts/discover.scm guix/scripts/offload.scm
}
add_phase_after apply-patches remove-commands

# guile_inputs SEPARATOR DIRECTORY: that directory of each package of Guile's.
guile_inputs() {
    separator=
    for input in "$input_guile_bytestructures" "$input_guile_gcrypt" "$input_guile_git" "$input_guile_json" \
        "$input_guile_lzlib" "$input_guile_semver" "$input_guile_sqlite3" "$input_guile_zlib" "$input_guile_zstd"; do
        printf '%s%s/%s' "$separator" "$input" "$2"
        separator=$1
    done
}

phase_configure() {
    substitute guix/config.scm \
        -e "s|\"x86_64-linux\"|\"$system\"|" \
        -e 's|"/usr/bin/git"|"git"|' \
        -e "s|\"/bin/gzip\"|\"$input_gzip/bin/gzip\"|" \
        -e "s|\"/bin/bzip2\"|\"$input_bzip2/bin/bzip2\"|" \
        -e "s|\"/usr/bin/xz\"|\"$input_xz/bin/xz\"|"
    # What Debian's program does for its own directories.
    cat >client <<END
#!$input_guile/bin/guile --no-auto-compile
!#
;; SPDX-License-Identifier: GPL-3.0-or-later
(set! %load-path
      (append '("$out/$guileSite" "$(guile_inputs '" "' "$guileSite")")
              %load-path))
(set! %load-compiled-path
      (append '("$out/$guileCompiled" "$(guile_inputs '" "' "$guileCompiled")")
              %load-compiled-path))
(apply (module-ref (resolve-interface '(guix ui)) 'guix-main) (command-line))
END
    GUILE_LOAD_PATH=$(guile_inputs : "$guileSite")
    GUILE_LOAD_COMPILED_PATH=$(guile_inputs : "$guileCompiled")
    export GUILE_LOAD_PATH GUILE_LOAD_COMPILED_PATH
}

phase_install_client() {
    mkdir -p "$out/bin" "$out/share/guix"
    cp client "$out/bin/guix"
    chmod 555 "$out/bin/guix"
    cp keys/* "$out/share/guix/"
}
add_phase_after install install-client

# As users start it.
phase_check_client() {
    if [ "$tests" = 1 ]; then
        unset GUILE_LOAD_PATH GUILE_LOAD_COMPILED_PATH
        "$out/bin/guix" --version | sed 1q
        "$out/bin/guix" show hello
    fi
}
add_phase_after install-client check-client
