#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Prints the URL of the first archive of Debian's own that this machine's APT knows, not that of the security team.
set -eu

# shellcheck disable=SC2016 # APT's own names
mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' |
    awk '$2 == "Debian" && $3 == "Debian" { print $1; exit }')
if [ -z "$mirror" ]; then
    echo "tools/debian-mirror.sh: APT knows no archive of Debian" >&2
    echo "hint: add one to /etc/apt/sources.list and run \`apt-get update'" >&2
    exit 1
fi
echo "$mirror"
