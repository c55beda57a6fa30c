# shellcheck shell=sh disable=SC2154 # the environment defines stage, out, tests ...

# bzip2 has a Makefile and no configure.
delete_phase configure

# bzip2_make TARGET...: the Makefile sets its tools itself, so they come as arguments.
# The final gcc is found as gcc.
bzip2_make() {
    run_make "CC=${CC:-gcc}" "CFLAGS=-Wall -Winline $CFLAGS -D_FILE_OFFSET_BITS=64" \
        "LDFLAGS=${LDFLAGS:-}" "$@"
}

phase_build() {
    if [ "$stage" != stage0 ]; then
        # The shared library, and bzip2 itself linked to it, as in Guix.  That makefile
        # links with CFLAGS too, and with nothing else.
        run_make -f Makefile-libbz2_so "CC=${CC:-gcc}" \
            "CFLAGS=-fpic -fPIC -Wall -Winline $CFLAGS -D_FILE_OFFSET_BITS=64 -Wl,-rpath,$out/lib"
        rm -f ./*.o
    fi
    bzip2_make libbz2.a bzip2 bzip2recover
}

phase_check() {
    if [ "$tests" = 1 ]; then
        bzip2_make test
    else
        echo "test suite not run"
    fi
}

phase_install() {
    bzip2_make install "PREFIX=$out"
    substitute "$out/bin/bzdiff" 's|/bin/rm|rm|'
    # Manual pages go to man/ otherwise, where validate-documentation-location is against.
    mkdir -p "$out/share"
    mv "$out/man" "$out/share/man"
    # These are installed as links to absolute names in $out.
    for link in bzegrep:bzgrep bzfgrep:bzgrep bzless:bzmore bzcmp:bzdiff; do
        rm -f "$out/bin/${link%:*}"
        ln -s "${link#*:}" "$out/bin/${link%:*}"
    done
    if [ "$stage" != stage0 ]; then
        cp libbz2.so.1.0.8 "$out/lib/"
        ln -s libbz2.so.1.0.8 "$out/lib/libbz2.so.1.0"
        ln -s libbz2.so.1.0.8 "$out/lib/libbz2.so.1"
        ln -s libbz2.so.1.0.8 "$out/lib/libbz2.so"
        cp bzip2-shared "$out/bin/bzip2"
        cp bzip2-shared "$out/bin/bunzip2"
        cp bzip2-shared "$out/bin/bzcat"
    fi
}
