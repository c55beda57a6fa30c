# shellcheck shell=sh

# Tests of gnulib that call system(), which runs /bin/sh: there is none in the sandbox.
add_phase_before check skip-impossible-tests
phase_skip_impossible_tests() {
    skip_tests gnulib-tests/test-pthread_sigmask1.c gnulib-tests/test-sigprocmask.c
}
