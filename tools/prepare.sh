#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Makes sure that this machine has what the Makefile's targets need.
#
#   tools/prepare.sh build    a Rust compiler and a C compiler
#   tools/prepare.sh test     these, and every program that the tests run
#
# On Debian as root, missing packages are installed. Elsewhere they are named, and the status is 1.
set -eu

# The oldest Rust that compiles this project; Cargo.toml says the same.
oldest=1.88

goal=${1:-build}
: "${CARGO:=cargo}"

fail() {
    echo "tools/prepare.sh: $*" >&2
    exit 1
}

# has PROGRAM: whether it is on PATH.
has() {
    command -v "$1" >/dev/null 2>&1
}

# has_rust: whether $CARGO comes with a compiler that is new enough.
has_rust() {
    has "$CARGO" && has rustc || return 1
    version=$(rustc --version | awk '{ print $2 }')
    echo "$oldest $version" | awk '{
        split($1, old, "."); split($2, new, ".")
        exit !(new[1] > old[1] || new[1] == old[1] && new[2] + 0 >= old[2] + 0)
    }'
}

# need PACKAGE PROGRAM...: notes PACKAGE of Debian where a PROGRAM is missing.
packages=
programs=
need() {
    package=$1
    shift
    for program in "$@"; do
        if ! has "$program"; then
            packages="$packages $package"
            programs="$programs $program"
            return 0
        fi
    done
}

# need_file PACKAGE FILE: notes PACKAGE of Debian where FILE is missing.
need_file() {
    [ -e "$2" ] || packages="$packages $1"
}

# On Debian, the newest Rust is in the packages that its browsers are built with.
need_rust() {
    if ! has_rust; then
        packages="$packages rustc-web cargo-web"
        programs="$programs cargo and rustc $oldest or newer"
    fi
}

need_rust
need gcc cc
need make make
if has apt-get; then
    need_file libc6-dev /usr/include/stdlib.h
    # cargo and the tool fetch over TLS; a tool that fetches Debian's packages verifies them.
    need_file ca-certificates /etc/ssl/certs/ca-certificates.crt
fi
case $goal in
    build) ;;
    test)
        need git git
        need bmake bmake
        need nix-bin nix-instantiate
        need guile-3.0 guile
        need shellcheck shellcheck
        need zsh zsh
        need fish fish
        need graphviz dot
        need chromium chromium
        need chromium-driver chromedriver
        need xz-utils xz
        need libarchive-tools bsdtar
        # Formatting and lints come with rustup's Rust; Debian has them apart.
        has_rust && "$CARGO" fmt --version >/dev/null 2>&1 || packages="$packages rustfmt-web"
        has_rust && "$CARGO" clippy --version >/dev/null 2>&1 || packages="$packages rust-web-clippy"
        if has apt-get; then
            need_file fonts-dejavu-core /usr/share/fonts/truetype/dejavu
            [ -n "$(find /usr/share/guile/site -name gcrypt 2>/dev/null)" ] || packages="$packages guile-gcrypt"
            # The compiler and the library's sources that cross/freebsd.sh compiles with.
            need_file rustc-web /usr/share/doc/rustc-web
            need_file cargo-web /usr/share/doc/cargo-web
            need_file rust-web-src /usr/share/doc/rust-web-src
            need_file rust-web-clippy /usr/share/doc/rust-web-clippy
            need_file python3-venv /usr/share/doc/python3-venv
            # For a root with Debian's Guix.
            need debootstrap debootstrap
            # For one with systemd, where the service is tried.
            need systemd-container systemd-nspawn
        fi
        ;;
    *) fail "unknown goal $goal: expected build or test" ;;
esac

[ -n "$packages$programs" ] || exit 0

has apt-get || fail "missing:$programs
hint: install them with this system's package manager (Debian calls their packages$packages)"
[ "$(id -u)" -eq 0 ] || fail "missing Debian packages:$packages
hint: run as root: apt-get install$packages"

# Another apt-get may be at work, on a machine that has just started for example.
apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 "$@"
}

# The lock of the package lists has no such option.
tries=0
until apt update; do
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || fail 'apt-get update failed 20 times'
    sleep 15
done
# shellcheck disable=SC2086 # a list
apt install -y --no-install-recommends $packages || fail "cannot install$packages"
has_rust || fail "cargo and rustc $oldest or newer are still missing on PATH: expected Debian's in /usr/bin, saw $(command -v rustc || echo none)"
