# shellcheck shell=sh disable=SC2154 # the environment defines out, tests ...

# A Makefile and no configure.
delete_phase configure

# zstd_make ARGUMENTS...: without the other compressors' libraries.  CFLAGS comes with the
# environment: as an argument it would keep the Makefile from adding -fPIC.
zstd_make() {
    run_make CC=gcc "prefix=$out" HAVE_ZLIB=0 HAVE_LZMA=0 HAVE_LZ4=0 "$@"
}

phase_build() {
    zstd_make -C lib lib
    zstd_make -C programs zstd
}

# The part that `make check' runs, with the program as it was built: `make check' would
# build a second one, and asks the program `file' what it is.
phase_check() {
    if [ "$tests" = 1 ]; then
        # It chooses tools by the system's name; those here are GNU's on every system.
        substitute tests/playTests.sh 's|^UNAME=.*|UNAME=Linux|'
        zstd_make -C tests datagen
        (cd tests && ZSTD_BIN=../programs/zstd DATAGEN_BIN=./datagen "$shell" ./playTests.sh)
    else
        echo "test suite not run"
    fi
}

phase_install() {
    zstd_make -C lib install
    zstd_make -C programs install
}
