# shellcheck shell=sh disable=SC2154 # the environment defines stage, out

if [ "$stage" != stage0 ]; then
    # The Makefile puts its shell wherever a script says /bin/sh, also where
    # patch-source-shebangs has just put a name that ends so.
    add_phase_after patch-source-shebangs keep-patched-shebangs
    phase_keep_patched_shebangs() {
        substitute Makefile.in "s,'s|/bin/sh|,'s|^#!/bin/sh|#!,"
    }

    # zmore's own pager, `more', is not among the inputs.
    add_phase_before check give-zmore-a-pager
    phase_give_zmore_a_pager() {
        substitute tests/help-version 's/{ unset PAGER;/{ PAGER=cat; export PAGER;/'
    }

    # They run this gzip, not whichever PATH holds, as in Guix.
    add_phase_after install use-absolute-name-of-gzip
    phase_use_absolute_name_of_gzip() {
        for script in gunzip zcat; do
            chmod u+w "$out/bin/$script"
            substitute "$out/bin/$script" "s|^exec '*gzip'*|exec $out/bin/gzip|"
        done
    }
fi
