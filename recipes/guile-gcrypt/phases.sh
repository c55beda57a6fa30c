# shellcheck shell=sh disable=SC2034,SC2154 # the builder defines what is not assigned here, and reads what is

# shellcheck source=SCRIPTDIR/../../stage0/guile-build-system/phases.sh
. "$input_guile_build_system/share/guile-build-system/phases.sh"
guileModules=gcrypt
guileTests='tests/*.scm'

phase_configure() {
    fill_in gcrypt/package-config.scm -e "s|@LIBGCRYPT@|$input_libgcrypt/lib/libgcrypt|" \
        -e 's|@PACKAGE_NAME@|Guile-Gcrypt|' -e "s|@PACKAGE_VERSION@|$version|"
}
