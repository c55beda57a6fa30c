#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs the worked example of docs/sharing.md as it is written. Needs the implicit inputs built in the store that is used
# (BOOTSTRAP_ROOT, or the machine's), and writes to none but its own.
#
#   tests/sharing.sh BOOTSTRAP
set -eu

# shellcheck source=SCRIPTDIR/document.sh
. "$(dirname "$0")/document.sh"
run_document "$1" docs/sharing.md SHARING

# What the text says of the results.
made=$directory/made
for place in user third; do
    [ -n "$(ls -d "$made/$place"/gnu/store/*-gzip-*)" ] || {
        echo "tests/sharing.sh: $place has no gzip" >&2
        exit 1
    }
done
grep -q '^(public-key' "$made/served/signing-key.pub"
grep -q 'define-module (bootstrap-inputs)' "$made/bootstrap-inputs.scm"
echo 'sharing: every step ran as written'
