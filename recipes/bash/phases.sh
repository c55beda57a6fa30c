# shellcheck shell=sh disable=SC2154 # the environment defines out, stage, input_bash

# `sh' is what scripts ask for.  The rest is for writing builtins as plug-ins; its
# makefile records the tools that built bash.
add_phase_after install finish-installation
phase_finish_installation() {
    ln -s bash "$out/bin/sh"
    rm -rf "${out:?}/lib" "$out/include"
    # Its first line names the shell that the build ran in.
    if [ "$stage" != stage0 ]; then
        chmod u+w "$out/bin/bashbug"
        substitute "$out/bin/bashbug" "1s|$input_bash/|$out/|"
    fi
}
