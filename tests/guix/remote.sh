#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Guix's own ways between two machines, one served by guix-daemon and the other by `bootstrap daemon': `guix copy',
# `guix archive' through a pipe, `guix offload' and `guix offload test', over a real sshd.
#
#   BOOTSTRAP_GUIX_ROOT=DIR tests/guix/remote.sh [BOOTSTRAP]
#
# DIR is a root with Guix and OpenSSH's server, which is not changed. The machines are copies of it on this one; each
# has its sshd on the loopback. Needs root and a C compiler. Skipped, with the reason, where something is missing.
#
# shellcheck disable=SC2317 # `check' and the trap call functions by name
set -eu

program=$(realpath "${1:-target/debug/bootstrap}")
here=$(dirname "$(realpath "$0")")
# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
need_guix
if [ ! -x "$root/usr/sbin/sshd" ] || ! grep -q '^sshd:' "$root/etc/passwd"; then
    echo "skipped: $root has no sshd, or not the user that it needs; \`tools/guix-root.sh DIR' makes a root that has"
    exit 0
fi
own_mounts sh "$0" "$@"
serve_site
stop_all() {
    for name in guix bootstrap; do
        pid=$(tree_of "$name")/ssh/pid
        [ ! -f "$pid" ] || kill "$(cat "$pid")" 2>/dev/null || true
    done
    stop
}
trap stop_all EXIT

make_builder
cat >"$place/test/text.scm" <<'SCHEME'
;; Adds the text in the command line, and prints its path.
(use-modules (guix))
(with-store store
  (format #t "~a~%" (add-text-to-store store "text" (cadr (command-line)) '())))
SCHEME

# Where ssh and libssh look for keys, in the roots: what their accounts say.
home=$(awk -F: '$1 == "root" { print $6 }' "$root/etc/passwd")

# other ROOT: the root that ROOT reaches.
other() { case $1 in guix) echo bootstrap ;; *) echo guix ;; esac; }

# prepare NAME: a root with keys.
prepare() {
    make_root "$1"
    mkdir -p "$inside$home/.ssh" "$inside/etc/guix" "$inside/ssh" "$inside/run/sshd"
    chmod 700 "$inside$home/.ssh"
    chroot "$inside" ssh-keygen -q -t ed25519 -N '' -f /ssh/host
    chroot "$inside" ssh-keygen -q -t ed25519 -N '' -f "$home/.ssh/id_ed25519"
    client "$1" guix archive --generate-key='(genkey (ecdsa (curve Ed25519) (flags rfc6979)))' 2>/dev/null
    cat >"$inside/ssh/command" <<'COMMAND'
#!/bin/sh
exec env -i PATH=/usr/bin:/bin HOME=/root LC_ALL=C.UTF-8 GUILE_AUTO_COMPILE=0 GUILE_WARN_DEPRECATED=no \
    /bin/sh -c "$SSH_ORIGINAL_COMMAND"
COMMAND
    chmod 755 "$inside/ssh/command"
}

# connect NAME: an sshd in NAME, which the other root may use; each trusts the other's items.
connect() {
    there=$(other "$1")
    mine=$place/mounts/$1/root
    its=$place/mounts/$there/root
    free=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cp "$its$home/.ssh/id_ed25519.pub" "$mine/ssh/users"
    cat >"$mine/ssh/config" <<CONFIG
Port $free
ListenAddress 127.0.0.1
HostKey /ssh/host
PidFile /ssh/pid
AuthorizedKeysFile /ssh/users
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
ForceCommand /ssh/command
CONFIG
    chroot "$mine" /usr/sbin/sshd -f /ssh/config -E /ssh/log
    key=$(cut -d' ' -f1,2 "$mine/ssh/host.pub")
    printf '[127.0.0.1]:%s %s\n' "$free" "$key" >"$its$home/.ssh/known_hosts"
    printf 'Host other\n  HostName 127.0.0.1\n  Port %s\n  User root\n' "$free" >"$its$home/.ssh/config"
    printf '(acl (entry %s (tag (guix import))))\n' "$(cat "$its/etc/guix/signing-key.pub")" >"$mine/etc/guix/acl"
    # How busy this machine is says nothing about the test. The file gets its name while the root offloads: two machines
    # that offload to each other pass a build to and fro without end.
    cat >"$its/etc/guix/machines" <<MACHINES
(list (build-machine (name "127.0.0.1") (port $free) (user "root") (systems '("x86_64-linux")) (host-key "$key")
                     (private-key "$home/.ssh/id_ed25519") (overload-threshold #f)))
MACHINES
}

same() { cmp "$place/mounts/guix/root$1" "$place/mounts/bootstrap/root$1"; }

# through NAME ITEM: the archive of an item goes from the root NAME to the other.
through() {
    client "$1" guix archive --export "$2" >"$place/archive" &&
        client "$(other "$1")" guix archive --import <"$place/archive" && same "$2"
}

# copied NAME OPTION ITEM
copied() { client "$1" timeout 120 guix copy "$2" "$3" && same "$3"; }

# offloaded ROOT: a build of ROOT that the other has made.
offloaded() {
    drv=$(client "$1" guix repl -- /test/derivation.scm "offloaded-from-$1" "$1") || return
    # Without jobs here it is made there or not at all.
    out=$(client "$1" timeout 120 guix build --no-substitutes --max-jobs=0 "$drv") || return
    echo "$drv -> $out"
    same "$out" && [ "$(cat "$place/mounts/$1/root$out")" = "made of $1" ] || return
    hash=${drv#/gnu/store/}
    ls "$place/mounts/$(other "$1")/root/var/log/guix/drvs/$(echo "$hash" | cut -c1-2)/$(echo "$hash" | cut -c3-)"*
}

prepare guix
prepare bootstrap
connect guix
connect bootstrap
inside=$place/mounts/guix/root
start_guix
inside=$place/mounts/bootstrap/root
start_bootstrap
await guix
await bootstrap
client guix guix --version 2>/dev/null | head -n 1
# text ROOT WHAT: an item that only ROOT has.
text() { client "$1" guix repl -- /test/text.scm "$2 of $1"; }

for from in guix bootstrap; do
    to=$(other "$from")
    check "guix archive --export from $from, --import to $to" through "$from" "$(text "$from" archive)"
    check "guix copy --to from $from to $to" copied "$from" --to=other "$(text "$from" to)"
    check "guix copy --from $from by $to" copied "$to" --from=other "$(text "$from" from)"
    mv "$place/mounts/$from/root/etc/guix/machines" "$place/mounts/$from/root/etc/guix/machines.scm"
    # Ours looks for the file when it starts and upon this signal.
    [ "$from" = guix ] || kill -HUP "$(cat "$place/bootstrap.pid")"
    check "guix offload test from $from" client "$from" timeout 120 guix offload test
    check "guix build on $from, offloaded to $to" offloaded "$from"
    rm "$place/mounts/$from/root/etc/guix/machines.scm"
done
[ -z "${VERBOSE:-}" ] || cat "$place"/*.log
exit "$failed"
