# shellcheck shell=sh

# large-subopt is expected to fail, and without perl does not.  The others are gnulib's
# tests that call system(), which runs /bin/sh: there is none in the sandbox.
add_phase_before check skip-impossible-tests
phase_skip_impossible_tests() {
    skip_tests tests/large-subopt \
        gnulib-tests/test-pthread_sigmask1.c gnulib-tests/test-sigprocmask.c
}
