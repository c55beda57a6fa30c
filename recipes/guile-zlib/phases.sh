# shellcheck shell=sh disable=SC2034,SC2154 # the builder defines what is not assigned here, and reads what is

# shellcheck source=SCRIPTDIR/../../stage0/guile-build-system/phases.sh
. "$input_guile_build_system/share/guile-build-system/phases.sh"
guileModules='zlib.scm zlib'
guileTests=tests/zlib.scm

phase_configure() {
    fill_in zlib/config.scm "s|@LIBZ_LIBDIR@|$input_zlib/lib|"
    # Where the tests look for a file.
    export abs_top_srcdir="$PWD"
}
