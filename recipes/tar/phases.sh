# shellcheck shell=sh disable=SC2154 # input_bash comes with the environment

# Compressors are run by a shell: bash, as in Guix, for there is no /bin/sh where this tar
# runs; stage0's unpacks the final builds' sources.
add_phase_before configure set-shell-file-name
phase_set_shell_file_name() {
    substitute src/system.c "s|/bin/sh|$input_bash/bin/sh|"
}
