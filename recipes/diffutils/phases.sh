# shellcheck shell=sh

# large-subopt is expected to fail, and without perl does not.
add_phase_before check skip-impossible-tests
phase_skip_impossible_tests() {
    skip_tests tests/large-subopt
}
