# shellcheck shell=sh disable=SC2154 # out comes with the environment

# `sh' is what scripts ask for.  The rest is for writing builtins as plug-ins; its
# makefile records the tools that built bash.
add_phase_after install finish-installation
phase_finish_installation() {
    ln -s bash "$out/bin/sh"
    rm -rf "${out:?}/lib" "$out/include"
}
