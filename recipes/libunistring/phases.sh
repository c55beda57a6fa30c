# shellcheck shell=sh disable=SC2154 # the builder defines what is not assigned here

# 3 MB that only static programs need; Guix has them in an output of their own, too.
phase_move_static_library() {
    mkdir -p "$static/lib"
    mv "$out/lib/libunistring.a" "$static/lib/"
}
add_phase_after install move-static-library
