#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Makes a Debian root with Guix 1.5 or newer, unmodified, and OpenSSH's server, for the tests that compare with it.
#
# usage: tools/guix-root.sh DIR
#
# On Debian as root, with debootstrap. The packages come from the mirror that the machine's own APT uses; Debian's
# unstable suite is the one that has Guix. Where DIR has Guix already, nothing is done. Prints the version.
set -eu

directory=${1:?usage: tools/guix-root.sh DIR}

if [ ! -x "$directory/usr/bin/guix" ]; then
    mirror=$(sh "$(dirname "$0")/debian-mirror.sh")
    mkdir -p "$directory"
    # It ends with 1 where guile-gcrypt is set up, which looks for files of development packages. All is unpacked by
    # then.
    debootstrap --variant=minbase --include=guix,guile-3.0,openssh-server sid "$directory" "$mirror" >"$directory.log" 2>&1 || true
    if [ ! -x "$directory/usr/bin/guix" ]; then
        tail -n 20 "$directory.log" >&2
        exit 1
    fi
fi
chroot "$directory" guix --version 2>/dev/null | sed -n '1s/.* //p'
