# shellcheck shell=sh disable=SC2154 # the builder defines what is not assigned here

delete_phase configure

phase_build() {
    # shellcheck disable=SC2086 # CFLAGS are words
    gcc -std=c11 -D_XOPEN_SOURCE=700 -Wall -Wextra -Werror $CFLAGS \
        -DREAL_LD="\"$input_binutils/bin/ld\"" \
        -DLOADER="\"$input_libc/lib/$loader\"" \
        -DEMULATION="\"$emulation\"" \
        -o ld ./*.c
}

phase_check() {
    CC=gcc "$shell" ./test.sh
}

phase_install() {
    mkdir -p "$out/bin"
    cp ld "$out/bin/ld"
}
