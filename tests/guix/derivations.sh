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
root=${BOOTSTRAP_GUIX_ROOT:-}
if [ -z "$root" ] || [ ! -x "$root/usr/bin/guix" ]; then
    echo "skipped: BOOTSTRAP_GUIX_ROOT names no root with Guix"
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "skipped: mounts need root"
    exit 0
fi
if [ "${DERIVATIONS_INSIDE:-}" != yes ]; then
    DERIVATIONS_INSIDE=yes exec unshare --mount --propagation private -- "$0" "$@"
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

cc -static -O1 -s -o "$place/toy" "$here/../build/toy.c"
# A server for builds that look whether they have the network.
mkdir "$place/site"
python3 -u -m http.server --bind 127.0.0.1 --directory "$place/site" 0 >"$place/server.log" 2>&1 &
server=$!
until port=$(sed -n 's/^Serving HTTP on .* port \([0-9]*\) .*/\1/p' "$place/server.log") && [ -n "$port" ]; do sleep 0.1; done

# guix-daemon gives fixed outputs a network by slirp4netns, where its host's loopback has this address.
host=10.0.2.2
if [ ! -x "$root/usr/bin/slirp4netns" ]; then
    echo "not compared: the network of fixed outputs; guix-daemon needs slirp4netns in $root for it"
    host=none
fi

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
    # guix-daemon binds each of these into builds of fixed outputs.
    for file in resolv.conf nsswitch.conf services hosts; do [ -e "$inside/etc/$file" ] || : >"$inside/etc/$file"; done
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
    cp "$here/derivations.scm" "$place/toy" "$inside/test"
}
ask() {
    inside=$place/mounts/$1/root
    until [ -S "$inside/var/guix/daemon-socket/socket" ]; do
        kill -0 "$(cat "$place/$1.pid")" || { cat "$place/$1.log"; exit 1; }
        sleep 0.2
    done
    chroot "$inside" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root LC_ALL=C.UTF-8 GUILE_AUTO_COMPILE=0 GUILE_WARN_DEPRECATED=no \
        guix repl -- /test/derivations.scm /test/toy "$host" "$port" >"$place/$1.out" 2>"$place/$1.err" ||
        { cat "$place/$1.err" "$place/$1.log"; exit 1; }
}

export http_proxy=http://a.proxy:1
make_root guix
chroot "$place/mounts/guix/root" guix-daemon --build-users-group=guixbuild --no-substitutes >"$place/guix.log" 2>&1 &
echo $! >"$place/guix.pid"
ask guix
make_root bootstrap
# Not chroot: in one, builds could make no namespaces.
mkdir "$place/mounts/bootstrap/root/old"
unshare --mount sh -euc 'cd "$0"; pivot_root . old; umount -l /old; exec /usr/bin/bootstrap-under-test daemon' \
    "$place/mounts/bootstrap/root" >"$place/bootstrap.log" 2>&1 &
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
echo "$(grep -c ' failed$' "$place/bootstrap.out") refusals and $(grep -vc ' failed$' "$place/bootstrap.out") outputs, the same of both"
