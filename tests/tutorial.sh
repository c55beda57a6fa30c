#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs docs/tutorial.md as it is written. Needs the implicit inputs built, and
# writes to the store that is used (BOOTSTRAP_ROOT, or the machine's).
#
#   tests/tutorial.sh BOOTSTRAP
set -eu

# shellcheck source=SCRIPTDIR/document.sh
. "$(dirname "$0")/document.sh"
run_document "$1" docs/tutorial.md TUTORIAL
echo 'tutorial: every step ran as written'
