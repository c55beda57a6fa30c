# shellcheck shell=sh disable=SC2154 # the builder defines what is not assigned here

# system(3) finds no shell: the C library's is /bin/sh.
phase_skip_tests_of_system() {
    skip_tests tests/test-pthread_sigmask1.c tests/test-sigprocmask.c
}
add_phase_after unpack skip-tests-of-system

# 3 MB that only static programs need; Guix has them in an output of their own, too.
phase_move_static_library() {
    mkdir -p "$static/lib"
    mv "$out/lib/libunistring.a" "$static/lib/"
}
add_phase_after install move-static-library
