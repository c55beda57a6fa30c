#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Real Guix and bootstrap realise each other's downloads, from a server on this machine.
#
#   BOOTSTRAP_GUIX_ROOT=DIR tests/guix/downloads.sh [BOOTSTRAP]
#
# DIR is a root with Guix, as `debootstrap --variant=minbase --include=guix,guile-3.0 sid DIR` makes. It is not changed.
# The same client has guix-daemon and `bootstrap daemon` realise the same derivations: Guix's own, and one of a recipe's
# source as bootstrap writes it. Each prints the same. Needs root, for mounts in a namespace of its own. Skipped, with
# the reason, where there is no DIR.
set -eu

program=$(realpath "${1:-target/debug/bootstrap}")
here=$(dirname "$(realpath "$0")")
# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
need_guix
own_mounts "$0" "$@"
serve_site

# What the server has.
mkdir "$place/site/pool" "$place/site/by-hash" "$place/site/by-hash/sha256"
echo 'a source, served on this machine' >"$place/site/x.tar"
digest=$(sha256sum "$place/site/x.tar" | cut -d' ' -f1)
cp "$place/site/x.tar" "$place/site/pool"
cp "$place/site/x.tar" "$place/site/by-hash/sha256/$digest"
url=http://127.0.0.1:$port

# A recipe's source, in the words of bootstrap: a mirror, a place that Guix does not know, the server.
mkdir "$place/sources" "$place/recipes"
cp -r "$here/../../recipes/." "$place/recipes"
cp -r "$here/../../stage0" "$place/stage0"
sed -i -e "s|^urls = .*|urls = [\"$url/none\", \"mirror://gnu/none\", \"$url/x.tar\"]|" -e "s|^sha256 = .*|sha256 = \"$digest\"|" -e "/^size = /d" \
    "$place/recipes/hello/recipe.toml"
BOOTSTRAP_CONFIG='' BOOTSTRAP_MIRRORS="gnu=$url/gnu" "$program" --root "$place/own" --recipes "$place/recipes" --progress plain \
    fetch hello >"$place/fetch.log" 2>&1 || { cat "$place/fetch.log"; exit 1; }
for drv in "$place"/own/gnu/store/*.drv; do
    case $(cat "$drv") in
        *"$url/x.tar"*) cp "$drv" "$place/sources/$(basename "$drv" | cut -c34-)" ;;
    esac
done
for text in "$place"/own/gnu/store/*-mirrors; do cp "$text" "$place/sources/mirrors.text"; done

cp -r "$here/downloads.scm" "$place/site/x.tar" "$place/sources" "$place/test"
ask_both /test/downloads.scm "$url" /test/x.tar /test/sources
compare
[ "$(grep -c ' failed$' "$place/bootstrap.out")" -eq 3 ] || { echo 'expected three refusals'; cat "$place/bootstrap.err"; exit 1; }
echo 'the same outputs and refusals'
