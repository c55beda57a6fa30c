# shellcheck shell=sh disable=SC2034,SC2154 # the builder defines what is not assigned here, and reads what is

# shellcheck source=SCRIPTDIR/../../stage0/guile-build-system/phases.sh
. "$input_guile_build_system/share/guile-build-system/phases.sh"
guileModules=bytestructures

# It ends with 0 in any case.
phase_check() {
    if [ "$tests" = 1 ]; then
        guile_here run-tests.guile.scm | tee tests.log
        grep 'of expected passes' tests.log
        if grep 'of unexpected' tests.log; then
            exit 1
        fi
    else
        echo "test suite not run"
    fi
}
