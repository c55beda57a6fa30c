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
# guix-daemon takes a build user for each build that runs, in whichever session.
members=$(seq -f 'guixbuilder%.0f' -s , 2 256)
sed -i "s/^\(guixbuild:.*\)/\1,$members/" "$inside/etc/group"
seq -f '%.0f' 2 256 | while IFS= read -r number; do
    echo "guixbuilder$number:x:$((30000 + number)):30000::/var/empty:/usr/sbin/nologin"
done >>"$inside/etc/passwd"
start_guix
make_root bootstrap
start_bootstrap
await guix
await bootstrap
chroot "$place/mounts/guix/root" guix --version 2>/dev/null | head -n 1
"$benchmark" --measure "$place" "$@" || { tail -n 5 "$place"/*.log; exit 1; }
