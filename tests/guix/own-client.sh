#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# The client of the recipe `guix' does what Debian's Guix of the same version does: makes the same derivations, for this
# system and for FreeBSD, and builds them.
#
# usage: sh tests/guix/own-client.sh PROGRAM [OPTION...]
#
# The store is the machine's, since the client's own modules are there. Where `guix' is not in it, says so and ends
# with 0. The rest is as with operations.sh.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=SCRIPTDIR/arguments.sh
. "$here/arguments.sh"
# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
need_guix
need_guile "$@"
if [ "$store_root" != / ] || ! own=$(rooted "$@" path guix 2>/dev/null); then
    echo "skipped: guix is not in the machine's store; \`bootstrap build guix' makes it"
    exit 0
fi
serve_inputs "$@"
mkdir "$scratch/freebsd" "$scratch/home"
rooted "$@" --seed freebsd-15.1-amd64 export --guix "$scratch/freebsd/bootstrap-inputs.scm"

# own_client ARGUMENT...
own_client() {
    env -i PATH=/usr/bin:/bin HOME="$scratch/home" LC_ALL=C.UTF-8 GUIX_DAEMON_SOCKET="$scratch/socket" \
        GUIX_BUILD_OPTIONS=--no-substitutes "$own/bin/guix" "$@"
}

# same CHANNEL OPTION...: with the module there, both make the same derivations of some packages.
same() {
    channel=$1
    shift
    own_client build -d -L "$scratch/$channel" "$@" hello m4 curl git-minimal gcc-toolchain@14 >"$scratch/ours"
    inside guix build -d -L "/scratch/$channel" "$@" hello m4 curl git-minimal gcc-toolchain@14 >"$scratch/theirs"
    if ! diff "$scratch/ours" "$scratch/theirs"; then
        echo "FAIL: with the module in $channel, our client's derivations (<) are not those of Debian's (>)"
        exit 1
    fi
    echo "pass: with the module in $channel, the same $(wc -l <"$scratch/ours") derivations"
}
echo "$(own_client --version | sed 1q); Debian's $(inside guix --version | sed -n '1s/.* //p')"
same channel
same freebsd --system=x86_64-freebsd

expression='(begin (use-modules (bootstrap-inputs) (guix gexp)) (computed-file "own-client" #~(mkdir #$output)))'
output=$(own_client build -L "$scratch/channel" -e "$expression")
[ -d "$output" ] || { echo "FAIL: $output was not built"; exit 1; }
again=$(own_client build --check -L "$scratch/channel" -e "$expression")
references=$(own_client gc --references "$output")
if [ "$again" != "$output" ] || [ -n "$references" ]; then
    echo "FAIL: built again: $again; its references: $references"
    exit 1
fi
echo "pass: builds and asks"
