# shellcheck shell=sh

# The manual pages come with the source.  make would write them again from the output of
# each new program, with help2man and perl; without perl it writes empty ones.
add_phase_before build keep-manual-pages
phase_keep_manual_pages() {
    find man -name '*.1' -exec touch -t 203701010000 {} +
}
