# shellcheck shell=sh

# Tests of the `e' command, whose popen runs /bin/sh, and tests of gnulib that call
# system(), which does the same: there is no /bin/sh in the sandbox.
add_phase_before check skip-impossible-tests
phase_skip_impossible_tests() {
    skip_tests testsuite/eval.sh testsuite/execute-tests.sh testsuite/posix-mode-s.sh \
        testsuite/sandbox.sh \
        gnulib-tests/test-pthread_sigmask1.c gnulib-tests/test-sigprocmask.c
}
