# shellcheck shell=sh disable=SC2154 # input_bash comes with the environment

# Pipes and system() run a shell: bash, as in Guix, for there is no /bin/sh where this
# gawk runs; stage0's runs in the final builds.
add_phase_before configure set-shell-file-name
phase_set_shell_file_name() {
    substitute io.c "s|/bin/sh|$input_bash/bin/sh|"
    substitute builtin.c "s|/bin/sh|$input_bash/bin/sh|"
}
