# shellcheck shell=sh disable=SC2034,SC2154 # the builder defines what is not assigned here, and reads what is

# shellcheck source=SCRIPTDIR/../../stage0/guile-build-system/phases.sh
. "$input_guile_build_system/share/guile-build-system/phases.sh"
guileModules=sqlite3.scm
guileTests=tests/basic.scm

phase_configure() {
    fill_in sqlite3.scm "s|@SQLITE_LIBDIR@|$input_sqlite/lib|"
}
