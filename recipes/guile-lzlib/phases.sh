# shellcheck shell=sh disable=SC2034,SC2154 # the builder defines what is not assigned here, and reads what is

# shellcheck source=SCRIPTDIR/../../stage0/guile-build-system/phases.sh
. "$input_guile_build_system/share/guile-build-system/phases.sh"
guileModules='lzlib.scm lzlib'
guileTests=tests/lzlib.scm

phase_configure() {
    fill_in lzlib/config.scm "s|@LIBLZ_LIBDIR@|$input_lzlib/lib/liblz|"
    # Where the tests look for a file.
    export abs_top_srcdir="$PWD"
}
