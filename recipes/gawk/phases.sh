# shellcheck shell=sh disable=SC2154 # the environment defines tests, input_bash

# Pipes and system() run a shell: bash, as in Guix, for there is no /bin/sh where this
# gawk runs; stage0's runs in the final builds.
add_phase_before configure set-shell-file-name
phase_set_shell_file_name() {
    substitute io.c "s|/bin/sh|$input_bash/bin/sh|"
    substitute builtin.c "s|/bin/sh|$input_bash/bin/sh|"
}

# pty1 and pty2 want a terminal: the second would wait for it for ever.  commas, mbstr1
# and mbstr2 want the locale en_US.UTF-8.  poundbang and watchpoint1 are about
# first lines, which patch-source-shebangs has changed.
add_phase_before check skip-impossible-tests
phase_skip_impossible_tests() {
    [ "$tests" = 1 ] || return 0
    lists='/^[A-Z_]*_TESTS = /,/^$/'
    for test in pty1 pty2 commas mbstr1 mbstr2 poundbang watchpoint1; do
        substitute test/Makefile \
            -e "${lists}s/\\([[:space:]]\\)$test\$/\\1/" \
            -e "${lists}s/\\([[:space:]]\\)$test\\([[:space:]]\\)/\\1\\2/"
    done
}
