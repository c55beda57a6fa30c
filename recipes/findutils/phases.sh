# shellcheck shell=sh disable=SC2154 # tests comes with the environment, shell with the builder

# There is no /bin/sh in the sandbox.  Two tests write scripts that start with it.
add_phase_before check work-around-bin-sh
phase_work_around_bin_sh() {
    [ "$tests" = 1 ] || return 0
    for script in find/exec-plus-last-file.sh xargs/verbose-quote.sh; do
        substitute "tests/$script" "s|'#!/bin/sh'|'#!$shell'|"
    done
}
