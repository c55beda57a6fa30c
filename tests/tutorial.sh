#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs docs/tutorial.md as it is written. Needs the implicit inputs built, and
# writes to the store that is used (BOOTSTRAP_ROOT, or the machine's).
#
#   tests/tutorial.sh BOOTSTRAP
set -eu

tool=$(realpath "$1")
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
mkdir "$directory/bin"
ln -s "$tool" "$directory/bin/bootstrap"
PATH=$directory/bin:$PATH
export PATH
awk '/^```sh$/ { block = 1; next } /^```$/ { block = 0 } block' docs/tutorial.md >"$directory/script"
TUTORIAL=$directory/work sh -eu -x "$directory/script"
echo 'tutorial: every step ran as written'
