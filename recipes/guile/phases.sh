# shellcheck shell=sh disable=SC2154 # the builder defines what is not assigned here

# Guile compiles itself: first with an interpreter in C, then with what that made.  The release's compiled modules would
# save that, but nobody can read them.
phase_remove_compiled_modules() {
    find prebuilt -name '*.go' -exec rm -f {} +
}
add_phase_after unpack remove-compiled-modules

# open-pipe and open-input-pipe.
phase_name_shell() {
    substitute module/ice-9/popen.scm "s|\"/bin/sh\"|\"$shell\"|"
}
add_phase_after apply-patches name-shell

# Where the patch says @libc@.
phase_name_libc() {
    substitute libguile/guile.c "s|@libc@|$input_libc|"
}
add_phase_after apply-patches name-libc

# system(3) finds no shell: the C library's is /bin/sh.
phase_skip_test_of_system() {
    skip_tests test-suite/standalone/test-system-cmds
}
add_phase_after unpack skip-test-of-system
