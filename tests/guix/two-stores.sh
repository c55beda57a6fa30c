#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU hello, by Guix's definition and client, built on two stores, is the same to the bit.
#
# usage: sh tests/guix/two-stores.sh [--root DIR] PROGRAM
#
# The second store is made here: it gets the inputs and Guile by `bootstrap export` and `bootstrap import`, and nothing
# else. Where the first store has hello already, it is built there once more and compared. The source is that of the
# recipe. The rest is as with packages.sh.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=SCRIPTDIR/arguments.sh
. "$here/arguments.sh"
# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
need_guix
# shellcheck disable=SC2119 # without options of the program
need_guile

other=$(mktemp -d)
clean() {
  # Store items are read-only, which stops a user other than root.
  chmod -R u+w "$other"
  rm -rf "$other"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

rooted fetch hello >/dev/null
source=${store_root%/}$(rooted show hello | sed -n 's/^source: //p')

# build ROOT: builds hello on that store, and prints its line and its outputs with their hashes.
build() {
  sh "$here/packages.sh" --root "$1" --check --hashes "$program" "hello=$source"
}
build "$store_root" | tee "$other/first"
for packages in '' guile; do
  # shellcheck disable=SC2086 # nothing where it is empty: the inputs
  rooted export $packages | "$program" --root "$other/root" import --unsigned >/dev/null
done
build "$other/root" | tee "$other/second"

grep ' sha256:' "$other/first" >"$other/first.hashes"
grep ' sha256:' "$other/second" >"$other/second.hashes"
# Both stores have the same paths: hello has to be in the second one.
while read -r path _; do
  [ -e "$other/root$path" ] || { echo "FAIL: $path was not built on the second store"; exit 1; }
done <"$other/second.hashes"
if ! cmp "$other/first.hashes" "$other/second.hashes"; then
  echo 'FAIL: the two stores differ'
  exit 1
fi
echo 'the same on two stores, and when built again on each'
