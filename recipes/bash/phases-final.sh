# shellcheck shell=sh

# The termcap library that line editing uses calls write without its header, which gcc 14 takes for a mistake.
add_phase_after unpack include-missing-header
phase_include_missing_header() {
    substitute lib/termcap/tparam.c 's|^#include "ltcap.h"|#include <unistd.h>\n&|'
}
