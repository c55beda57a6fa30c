#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs docs/guix.md as it is written, by an unmodified Guix client.
#
# usage: sh tests/guix/tutorial.sh [--root DIR] PROGRAM
#
# BOOTSTRAP_GUIX_ROOT is the Debian root with Guix (see daemon.sh). The inputs and Guile are those of the store of
# --root, or of the machine's own, where no other daemon may listen. Ends with 0 where every step ran, or where there is
# nothing to test with, and says so.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=SCRIPTDIR/arguments.sh
. "$here/arguments.sh"
# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
need_guix
# shellcheck disable=SC2119 # without options of the program
need_guile
prepare_inputs
mkdir "$scratch/bin" "$scratch/place"
cp "$program" "$scratch/bin/bootstrap"
awk '/^```sh$/ { block = 1; next } /^```$/ { block = 0 } block' "$here/../../docs/guix.md" >"$scratch/script"
# The daemon that the document starts goes with the namespace of processes.
unshare --mount --pid --fork --kill-child --mount-proc sh "$here/enter.sh" "$root" "$scratch" \
    env PATH=/scratch/bin:/usr/bin:/bin GUIX_BUILD_OPTIONS=--no-substitutes \
    sh -c 'cd /scratch/place && sh -eu -x /scratch/script' >"$scratch/output" 2>&1 || {
    cat "$scratch/output"
    exit 1
}
grep -qx 'Hello, world!' "$scratch/output"
echo "docs/guix.md: every step ran as written"
