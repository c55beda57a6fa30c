#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# A part of the bootstrap, for real: stage0's make and sed, built from the real seed in
# the real sandbox, then run.
#
#   tests/road.sh BOOTSTRAP
#
# The store is under target/road, so nothing of the machine is touched; what an
# earlier run built there is built again, what it downloaded is reused.
set -eu

tool=$1
root=$PWD/target/road
mkdir -p "$root"

# A make that runs this script would tell the make that is tried here what to do.
unset MAKEFLAGS MFLAGS MAKELEVEL

fail() {
    echo "tests/road.sh: $*" >&2
    exit 1
}

# run PROGRAM PATH ARGUMENTS...: a static program of the store, by its physical path.
run() {
    store_path=$("$tool" --root "$root" path "$1") || fail "no valid $1"
    program=$root$store_path/$2
    shift 2
    "$program" "$@"
}

# Store items are read-only, also to those who own them.
if [ -d "$root/gnu" ]; then
    chmod -R u+w "$root/gnu"
fi
rm -rf "$root/gnu" "$root/var/guix"

"$tool" --root "$root" build stage0/make stage0/sed 2>&1 | tee "$root/first.log"
grep -q ': building' "$root/first.log" || fail 'the first build does not say what it builds'

run stage0/make bin/make --version | grep -q '^GNU Make 4' || fail 'stage0/make does not say what it is'
printf 'all:\n\t@echo made\n' >"$root/Makefile"
made=$(run stage0/make bin/make -f "$root/Makefile" 2>&1) || fail "stage0/make failed: $made"
[ "$made" = made ] || fail "stage0/make: expected \`made', saw \`$made'"
replaced=$(echo seed | run stage0/sed bin/sed s/seed/sed/ 2>&1) || fail "stage0/sed failed: $replaced"
[ "$replaced" = sed ] || fail "stage0/sed: expected \`sed', saw \`$replaced'"

# What is built stays built: a second call has nothing to do.
"$tool" --root "$root" build stage0/make stage0/sed >"$root/second.log" 2>&1
if grep ': building' "$root/second.log"; then
    fail 'a second build built something again'
fi
echo 'road: stage0/make and stage0/sed built and run'
