#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# guix-daemon and `bootstrap daemon` realise the same derivations, and refuse the same ones.
#
#   BOOTSTRAP_GUIX_ROOT=DIR tests/guix/derivations.sh [BOOTSTRAP]
#
# DIR is a root with Guix, as `debootstrap --variant=minbase --include=guix,guile-3.0 sid DIR` makes. It is not changed.
# The same client asks each daemon for what derivations.scm lists: fixed outputs, rules for references, graphs,
# variables, attributes, systems. Each prints outputs, hashes and references, or a refusal. Needs root, for mounts in a
# namespace of its own, and a C compiler. Skipped, with the reason, where there is no DIR.
set -eu

program=$(realpath "${1:-target/debug/bootstrap}")
here=$(dirname "$(realpath "$0")")
# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
need_guix
own_mounts "$0" "$@"
# For builds that look whether they have the network.
serve_site

cc -static -O1 -s -o "$place/test/toy" "$here/../build/toy.c"
cp "$here/derivations.scm" "$place/test"

# guix-daemon gives fixed outputs a network by slirp4netns, where its host's loopback has this address.
host=10.0.2.2
if [ ! -x "$root/usr/bin/slirp4netns" ]; then
    echo "not compared: the network of fixed outputs; guix-daemon needs slirp4netns in $root for it"
    host=none
fi

export http_proxy=http://a.proxy:1
ask_both /test/derivations.scm /test/toy "$host" "$port"
compare
echo "$(grep -c ' failed$' "$place/bootstrap.out") refusals and $(grep -vc ' failed$' "$place/bootstrap.out") outputs, the same of both"
