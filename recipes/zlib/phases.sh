# shellcheck shell=sh disable=SC2154 # the builder defines what is not assigned here

# Its configure is written by hand, and refuses flags that it does not know.
phase_configure() {
    CC=gcc "$shell" ./configure --prefix="$out" --shared
}
