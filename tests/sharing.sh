#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs the worked example of docs/sharing.md as it is written. Needs the implicit inputs built in the store that is used
# (BOOTSTRAP_ROOT, or the machine's), and writes to none but its own.
#
#   tests/sharing.sh BOOTSTRAP
set -eu

tool=$(realpath "$1")
directory=$(mktemp -d)
clean() {
    # Store items are read-only, which stops a user other than root.
    chmod -R u+w "$directory" 2>/dev/null || true
    rm -rf "$directory"
}
trap clean EXIT
mkdir "$directory/bin"
ln -s "$tool" "$directory/bin/bootstrap"
PATH=$directory/bin:$PATH
export PATH
awk '/^```sh$/ { block = 1; next } /^```$/ { block = 0 } block' docs/sharing.md >"$directory/script"
SHARING=$directory/work sh -eu -x "$directory/script"

# What the text says of the results.
for place in user third; do
    [ -n "$(ls -d "$directory/work/$place"/gnu/store/*-gzip-*)" ]
done
grep -q '^(public-key' "$directory/work/served/signing-key.pub"
grep -q 'define-module (bootstrap-inputs)' "$directory/work/bootstrap-inputs.scm"
echo 'sharing: every step ran as written'
