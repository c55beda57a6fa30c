#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Everything that `make test' checks, cheapest first; stops at the first failure. tools/prepare.sh installs what it
# needs.
set -eu

cd "$(dirname "$0")/.."
: "${CARGO:=cargo}"

step() {
    printf '\n== %s\n' "$1"
}

# In a Debian root of its own: the release that this runs on has no Guix. Made beside the rest, since it is mostly
# waiting for the mirror.
guix_root=
if command -v debootstrap >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    mkdir -p target
    sh tools/guix-root.sh "$PWD/target/guix" >target/guix-root.log 2>&1 &
    guix_root=$!
    # Nothing is left running, however this ends.
    trap wait EXIT
fi

step 'the Makefile, read by both makes'
bmake -n test >/dev/null

step 'formatting'
$CARGO fmt --check

step 'shell scripts'
# Every script under version control, by name or by its first line. In a pipe, a failure of git would look like no
# files.
files=$(git -c safe.directory="$PWD" ls-files)
[ -n "$files" ] || {
    echo "tests/run.sh: git knows no files here: run it in a clone" >&2
    exit 1
}
printf '%s\n' "$files" | while IFS= read -r file; do
    case $file in
        *.sh) echo "$file" ;;
        *) if head -n 1 "$file" | grep -q '^#!.*sh$'; then echo "$file"; fi ;;
    esac
done | xargs shellcheck -x

step 'what the tests with Guix remove'
sh tests/guix/cleanup.sh

step 'the source archive'
sh tests/dist.sh

step 'licences, comments, subjects, words'
sh tests/project.sh
sh tests/words.sh

# What only FreeBSD compiles is type-checked here, where it cannot run; beside the lints of the rest, since each ends
# with one long thread. Needs Debian's packages.
freebsd_lints=
if command -v apt-get >/dev/null 2>&1; then
    mkdir -p target
    sh cross/freebsd.sh clippy >target/freebsd-lints.log 2>&1 &
    freebsd_lints=$!
    trap wait EXIT
fi

step 'lints'
$CARGO clippy --locked --all-targets -- -D warnings

step 'documentation'
RUSTDOCFLAGS='-D warnings' $CARGO doc --locked --no-deps

if [ -n "$freebsd_lints" ]; then
    step 'lints for FreeBSD'
    # Before the tests: some of them look at the clock.
    wait "$freebsd_lints" || {
        cat target/freebsd-lints.log >&2
        exit 1
    }
    cat target/freebsd-lints.log
else
    step 'FreeBSD: left out, its compiler comes from Debian'
fi

step "the linker's wrapper and the C library's editor, with this machine's compiler"
(cd stage0/ld-wrapper && CC=cc SHELL=/bin/sh sh test.sh)
(cd stage0/libc-paths && CC=cc sh test.sh)
step "the compiler of Guile's modules, with this machine's Guile"
(cd stage0/guile-build-system && GUILE=guile sh test.sh)

step 'unit, property, oracle, browser and sandbox tests'
BOOTSTRAP_BROWSER_REQUIRED=1 BOOTSTRAP_PROGRAMS_REQUIRED=1 $CARGO test --locked

if [ -n "$guix_root" ]; then
    step 'the real Guix, unmodified'
    BOOTSTRAP_GUIX_ROOT=$PWD/target/guix
    export BOOTSTRAP_GUIX_ROOT
    wait "$guix_root" || {
        cat target/guix-root.log >&2
        exit 1
    }
    cat target/guix-root.log
    sh tests/guix/daemon.sh target/debug/bootstrap
    sh tests/guix/doctor.sh target/debug/bootstrap
    sh tests/guix/closure.sh target/debug/bootstrap
    sh tests/guix/operations.sh target/debug/bootstrap
    sh tests/guix/downloads.sh target/debug/bootstrap
    sh tests/guix/remote.sh target/debug/bootstrap
    sh tests/guix/substitutes.sh target/debug/bootstrap
    sh tests/guix/derivations.sh target/debug/bootstrap
    sh tests/guix/suites.sh target/debug/bootstrap
else
    step 'the real Guix: left out, it needs root and debootstrap'
fi

# `make freebsd' takes the same way, and ten minutes to optimise. That, and most of the packages, is for `make cross'.
if command -v apt-get >/dev/null 2>&1; then
    step 'the program for FreeBSD'
    sh cross/freebsd.sh link
fi

step 'a part of the real bootstrap'
$CARGO build --release --locked
sh tests/road.sh target/release/bootstrap

if [ -n "${BOOTSTRAP_GUIX_ROOT:-}" ]; then
    step "packages of Guix's own, where the inputs and Guile are in the store"
    sh tests/guix/two-stores.sh target/release/bootstrap
    sh tests/guix/packages.sh --check target/release/bootstrap acpid dtach figlet multitime pwgen
fi

step 'the installation'
sh tests/install.sh
sh tests/systemd.sh target/release/bootstrap target/systemd

# The sources are those that tests/road.sh fetched and made.
if command -v apt-get >/dev/null 2>&1; then
    step 'two packages for FreeBSD'
    BOOTSTRAP_ROOT=$PWD/target/road sh cross/packages.sh target/release/bootstrap make sed
fi
