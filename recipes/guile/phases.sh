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

# The stacks of libgc's marker threads count towards the 50 MB that this test allows itself. On two processors it passed in
# one of ten runs, and with one marker thread in eight of eight.
phase_limit_marker_threads() {
    substitute test-suite/standalone/test-out-of-memory 's|^exec guile|GC_MARKERS=1 exec guile|'
}
add_phase_before check limit-marker-threads
