#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# How long GNU hello takes by guix-daemon and by `bootstrap daemon', with the same client, module and inputs.
#
# usage: sh tests/guix/speed.sh [--root DIR] PROGRAM [RUNS]
#
# Each daemon has a root of its own in memory, whose store gets the inputs and Guile of the store of --root, or of the
# machine's, by `bootstrap export' and `bootstrap import'. The client builds hello once in each, then RUNS times again,
# in turn. Prints the seconds of the command, of the build's phases, and what is left; then the ratio of the medians.
# The source is that of the recipe. Needs root, and 2 GiB of memory. Measure on a machine that does nothing else.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
need_guix
own_mounts sh "$0" "$@"
# shellcheck source=SCRIPTDIR/arguments.sh
. "$here/arguments.sh"
runs=${1:-5}
# shellcheck disable=SC2119 # without options of the program
need_guile
rooted fetch hello >/dev/null
source=${store_root%/}$(rooted show hello | sed -n 's/^source: //p')
tarball=$(basename "$source" | sed 's/^[0-9a-z]\{32\}-//')

serve_site
mkdir "$place/test/channel"
cp "$source" "$place/test/$tarball"
rooted export >"$place/mounts/inputs" 2>"$place/export.log"
rooted export guile >"$place/mounts/guile" 2>"$place/export.log"

# fill NAME: a root with the inputs.
fill() {
    make_root "$1"
    for items in inputs guile; do
        "$program" --root "$inside" import --unsigned "$place/mounts/$items" >/dev/null
    done
    "$program" --root "$inside" export --guix "$inside/test/channel/bootstrap-inputs.scm" 2>/dev/null
    chown root:30000 "$inside/gnu/store"
}
# build NAME OPTION...: has the daemon NAME build hello.
build() {
    name=$1
    shift
    client "$name" guix build -L /test/channel --no-substitutes --no-grafts "--with-source=hello=/test/$tarball" "$@" hello \
        >"$place/$name.out" 2>"$place/$name.err" || { cat "$place/$name.err" "$place/$name.log"; exit 1; }
}
now() {
    date +%s.%N
}
# measure NAME: builds hello again, then asks for it where there is nothing to do. Prints the seconds of the first
# command, of the build's phases, of the second command, and what is left of the first: of the daemon and of the
# builder before and after its phases.
measure() {
    started=$(now)
    build "$1" --check
    built=$(now)
    cp "$place/$1.err" "$place/log"
    build "$1"
    asked=$(now)
    # Phases print tenths of seconds.
    awk -v started="$started" -v built="$built" -v asked="$asked" '
        / succeeded after [0-9.]* seconds/ { phases += $(NF - 1) }
        END { printf "%.2f %.1f %.2f %.2f\n", built - started, phases, asked - built, 2 * built - started - asked - phases }' \
        "$place/log" | tee -a "$place/$1.times"
}
# median FILE COLUMN
median() {
    sort -n -k "$2,$2" "$1" | awk -v column="$2" '{ all[NR] = $column } END { print (all[int((NR + 1) / 2)] + all[int(NR / 2) + 1]) / 2 }'
}

fill guix
start_guix
fill bootstrap
start_bootstrap
for name in guix bootstrap; do
    await "$name"
    build "$name"
done
cmp "$place/guix.out" "$place/bootstrap.out"
client guix guix --version | sed -n '1s/.* //p'
echo 'guix-daemon: seconds of the command, of the phases, of the client, the rest; bootstrap daemon: the same'
run=0
while [ "$run" -lt "$runs" ]; do
    echo "$(measure guix)   $(measure bootstrap)"
    run=$((run + 1))
done
for name in guix bootstrap; do
    echo "medians of $name: command $(median "$place/$name.times" 1), phases $(median "$place/$name.times" 2)," \
        "client $(median "$place/$name.times" 3), rest $(median "$place/$name.times" 4)"
done
echo "$(median "$place/bootstrap.times" 1) $(median "$place/guix.times" 1)" | awk '{ printf "ratio: %.3f\n", $1 / $2 }'
