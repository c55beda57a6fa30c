# shellcheck shell=sh disable=SC2154 # out comes with the environment

# egrep and fgrep run this grep, not whichever PATH holds, as in Guix.
add_phase_after install fix-egrep-and-fgrep
phase_fix_egrep_and_fgrep() {
    for script in egrep fgrep; do
        substitute "$out/bin/$script" "s|^exec grep|exec $out/bin/grep|"
    done
}
