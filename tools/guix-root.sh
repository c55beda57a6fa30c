#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Makes a Debian root with Guix 1.5 or newer, unmodified, for the tests that compare with it.
#
# usage: tools/guix-root.sh DIR
#
# On Debian as root, with debootstrap. The packages come from the mirror that the machine's own APT uses; Debian's
# unstable suite is the one that has Guix. Where DIR has Guix already, nothing is done. Prints the version.
set -eu

directory=${1:?usage: tools/guix-root.sh DIR}

if [ ! -x "$directory/usr/bin/guix" ]; then
    # The first archive of Debian's own that APT knows, not that of the security team.
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' |
        awk '$2 == "Debian" && $3 == "Debian" { print $1; exit }')
    if [ -z "$mirror" ]; then
        echo "tools/guix-root.sh: APT knows no archive of Debian" >&2
        echo "hint: add one to /etc/apt/sources.list and run \`apt-get update'" >&2
        exit 1
    fi
    mkdir -p "$directory"
    # It ends with 1 where guile-gcrypt is set up, which looks for files of development packages. All is unpacked by
    # then.
    debootstrap --variant=minbase --include=guix,guile-3.0 sid "$directory" "$mirror" >"$directory.log" 2>&1 || true
    if [ ! -x "$directory/usr/bin/guix" ]; then
        tail -n 20 "$directory.log" >&2
        exit 1
    fi
fi
chroot "$directory" guix --version 2>/dev/null | sed -n '1s/.* //p'
