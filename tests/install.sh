#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# `make install', with both makes: the same files, in their places, that name each other rightly.
#
# usage: sh tests/install.sh      after `cargo build --release'
set -eu

cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
    echo "tests/install.sh: $*" >&2
    exit 1
}

for make in make bmake; do
    "$make" install DESTDIR="$scratch/$make" PREFIX=/opt/guix >"$scratch/log" 2>&1 || {
        cat "$scratch/log"
        fail "$make install failed"
    }
    (cd "$scratch/$make" && find . -type f | sort) >"$scratch/$make.files"
done
cmp "$scratch/make.files" "$scratch/bmake.files" || fail "the makes install other files"
diff -r "$scratch/make" "$scratch/bmake" || fail "the makes install other bytes"

installed=$scratch/make/opt/guix
for file in bin/bootstrap share/man/man1/bootstrap.1 share/man/man1/bootstrap-daemon.1 share/zsh/site-functions/_bootstrap \
    share/bash-completion/completions/bootstrap share/fish/vendor_completions.d/bootstrap.fish; do
    [ -s "$installed/$file" ] || fail "$file is missing"
done

if [ "$(uname)" = Linux ]; then
    units=$installed/lib/systemd/system
    grep -q '^ExecStart=/opt/guix/bin/bootstrap daemon$' "$units/guix-daemon.service" || fail "the service starts another program"
    grep -q '^ListenStream=/var/guix/daemon-socket/socket$' "$units/guix-daemon.socket" || fail "the socket is elsewhere"
fi
# FreeBSD's script, which is only parsed here: rc.subr(8) is FreeBSD's.
sh -n services/guix_daemon.in
if grep -rl '@BIN@' "$scratch/make"; then
    fail "a place is not filled in"
fi
echo "make install: $(wc -l <"$scratch/make.files") files, the same by both makes"
