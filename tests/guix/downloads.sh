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
root=${BOOTSTRAP_GUIX_ROOT:-}
if [ -z "$root" ] || [ ! -x "$root/usr/bin/guix" ]; then
    echo "skipped: BOOTSTRAP_GUIX_ROOT names no root with Guix"
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "skipped: mounts need root"
    exit 0
fi
if [ "${DOWNLOADS_INSIDE:-}" != yes ]; then
    DOWNLOADS_INSIDE=yes exec unshare --mount --propagation private -- "$0" "$@"
fi

place=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    for name in guix bootstrap; do
        [ ! -f "$place/$name.pid" ] || kill "$(cat "$place/$name.pid")" 2>/dev/null || true
    done
    sleep 1
    umount -R "$place/mounts" 2>/dev/null || true
    rm -rf "$place"
}
trap stop EXIT

# What the server has.
mkdir "$place/site" "$place/site/pool" "$place/site/by-hash" "$place/site/by-hash/sha256"
echo 'a source, served on this machine' >"$place/site/x.tar"
digest=$(sha256sum "$place/site/x.tar" | cut -d' ' -f1)
cp "$place/site/x.tar" "$place/site/pool"
cp "$place/site/x.tar" "$place/site/by-hash/sha256/$digest"
python3 -u -m http.server --bind 127.0.0.1 --directory "$place/site" 0 >"$place/server.log" 2>&1 &
server=$!
until port=$(sed -n 's/^Serving HTTP on .* port \([0-9]*\) .*/\1/p' "$place/server.log") && [ -n "$port" ]; do sleep 0.1; done
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

# A root for each daemon, which sees DIR as it is and keeps what it writes apart.
mkdir "$place/mounts"
mount -t tmpfs none "$place/mounts"
make_root() {
    mkdir -p "$place/mounts/$1/upper" "$place/mounts/$1/work" "$place/mounts/$1/root"
    mount -t overlay overlay -o "lowerdir=$root,upperdir=$place/mounts/$1/upper,workdir=$place/mounts/$1/work" "$place/mounts/$1/root"
    inside=$place/mounts/$1/root
    mkdir -p "$inside/gnu/store" "$inside/var/guix" "$inside/var/log/guix" "$inside/test" "$inside/proc"
    mount -t proc none "$inside/proc"
    mount --rbind /dev "$inside/dev"
    chmod 1775 "$inside/gnu/store"
    grep -q '^guixbuild:' "$inside/etc/group" || echo 'guixbuild:x:30000:guixbuilder1' >>"$inside/etc/group"
    grep -q '^guixbuilder1:' "$inside/etc/passwd" ||
        echo 'guixbuilder1:x:30001:30000::/var/empty:/usr/sbin/nologin' >>"$inside/etc/passwd"
    chown root:30000 "$inside/gnu/store"
    # Guile looks for this name, which only libgcrypt's development package has.
    for library in "$inside"/usr/lib/*/libgcrypt.so.20; do
        [ -e "${library%.20}" ] || ln -s libgcrypt.so.20 "${library%.20}"
    done
    cp "$program" "$inside/usr/bin/bootstrap-under-test"
    cp "$here/downloads.scm" "$place/site/x.tar" "$inside/test"
    cp -r "$place/sources" "$inside/test/sources"
}
ask() {
    inside=$place/mounts/$1/root
    until [ -S "$inside/var/guix/daemon-socket/socket" ]; do
        kill -0 "$(cat "$place/$1.pid")" || { cat "$place/$1.log"; exit 1; }
        sleep 0.2
    done
    chroot "$inside" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root LC_ALL=C.UTF-8 GUILE_AUTO_COMPILE=0 GUILE_WARN_DEPRECATED=no \
        guix repl -- /test/downloads.scm "$url" /test/x.tar /test/sources >"$place/$1.out" 2>"$place/$1.err" ||
        { cat "$place/$1.err" "$place/$1.log"; exit 1; }
}

make_root guix
chroot "$place/mounts/guix/root" guix-daemon --build-users-group=guixbuild --no-substitutes >"$place/guix.log" 2>&1 &
echo $! >"$place/guix.pid"
ask guix
make_root bootstrap
chroot "$place/mounts/bootstrap/root" /usr/bin/bootstrap-under-test daemon >"$place/bootstrap.log" 2>&1 &
echo $! >"$place/bootstrap.pid"
ask bootstrap

chroot "$place/mounts/guix/root" guix --version 2>/dev/null | head -n 1
cat "$place/bootstrap.out"
if ! diff "$place/guix.out" "$place/bootstrap.out" >"$place/difference"; then
    echo 'guix-daemon (<) and bootstrap daemon (>) differ:'
    cat "$place/difference"
    [ -z "${VERBOSE:-}" ] || cat "$place/guix.err" "$place/bootstrap.err" "$place/bootstrap.log"
    exit 1
fi
[ "$(grep -c ' failed$' "$place/bootstrap.out")" -eq 3 ] || { echo 'expected three refusals'; cat "$place/bootstrap.err"; exit 1; }
echo 'the same outputs and refusals'
