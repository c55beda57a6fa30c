#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# What common.sh removes when a script ends: its own files, and nothing of the machine that is mounted among them, also
# where a process keeps the mounts busy.
#
#   tests/guix/cleanup.sh     needs root, and no Guix
set -eu

here=$(dirname "$(realpath "$0")")
# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
if [ "$(id -u)" -ne 0 ] || ! unshare --mount true 2>/dev/null; then
    echo 'skipped: a private mount namespace needs root'
    exit 0
fi
own_mounts sh "$0" "$@"

# A file system of its own stands for the machine's /dev.
machine=$(mktemp -d)
mount -t tmpfs none "$machine"
: >"$machine/device"
place=$(mktemp -d)
mkdir "$place/mounts"
mount -t tmpfs none "$place/mounts"
mkdir "$place/mounts/dev"
mount --rbind "$machine" "$place/mounts/dev"
: >"$place/own"
(cd "$place/mounts/dev" && exec sleep 60) &
busy=$!
trap 'kill "$busy" 2>/dev/null || true; umount -l "$machine"; rmdir "$machine"' EXIT
# Until it is there, it keeps nothing busy.
until [ "$(readlink "/proc/$busy/cwd")" = "$place/mounts/dev" ]; do sleep 0.1; done

remove_place
[ -e "$machine/device" ] || { echo "FAIL: a file of the machine was removed through its mount"; exit 1; }
[ ! -e "$place" ] || { echo "FAIL: $place is still there"; exit 1; }

echo 'pass: nothing of the machine is removed with a test root'
