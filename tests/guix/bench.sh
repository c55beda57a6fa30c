#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Starts guix-daemon and `bootstrap daemon', each in a root of its own, for `cargo bench --bench daemon'.
#
# usage: sh bench.sh BOOTSTRAP BENCHMARK [OPTION]
#
# BOOTSTRAP_GUIX_ROOT names a root with Guix, which is not changed. BENCHMARK runs with the arguments
# `--measure PLACE OPTION': PLACE/mounts has the roots `guix' and `bootstrap', and PLACE/builder is a static program.
set -eu

program=$(realpath "$1")
benchmark=$(realpath "$2")
here=$(dirname "$(realpath "$0")")
# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
need_guix
own_mounts sh "$0" "$@"
shift 2
serve_site

cat >"$place/builder.c" <<'BUILDER'
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
  FILE *out = fopen(getenv("out"), "w");
  return out == NULL || fputs("made\n", out) < 0 || fclose(out) != 0;
}
BUILDER
cc -static -O1 -o "$place/builder" "$place/builder.c"

make_root guix
unshare --pid --fork --kill-child --mount-proc="$inside/proc" \
    chroot "$inside" guix-daemon --build-users-group=guixbuild --no-substitutes >"$place/guix.log" 2>&1 &
echo $! >"$place/guix.pid"
make_root bootstrap
# Not chroot: in one, builds could make no namespaces.
# shellcheck disable=SC2016 # the shell inside expands it
unshare --mount sh -euc 'cd "$0"; pivot_root . old; umount -l /old; exec /usr/bin/bootstrap-under-test daemon --no-substitutes' \
    "$inside" >"$place/bootstrap.log" 2>&1 &
echo $! >"$place/bootstrap.pid"
for name in guix bootstrap; do
    until [ -S "$place/mounts/$name/root/var/guix/daemon-socket/socket" ]; do
        kill -0 "$(cat "$place/$name.pid")" || { cat "$place/$name.log"; exit 1; }
        sleep 0.2
    done
done
chroot "$place/mounts/guix/root" guix --version 2>/dev/null | head -n 1
"$benchmark" --measure "$place" "$@" || { tail -n 5 "$place"/*.log; exit 1; }
