#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs CMD in a Debian root that has Guix, with a scratch store in it.
#
# usage: unshare --mount sh enter.sh ROOT SCRATCH CMD ARGUMENT...
#
# ROOT is read and not written: what is written is in SCRATCH (store and state directory) and in a file system in memory
# that goes with the mount namespace.
set -eu

root=$1 scratch=$2
shift 2

mount --make-rprivate /
new=$scratch/enter
mkdir -p "$new"
mount -t tmpfs tmpfs "$new"
for entry in "$root"/*; do
  name=${entry##*/}
  case $name in
    gnu | tmp | root | proc | dev | sys | var) continue ;;
  esac
  if [ -L "$entry" ]; then
    cp -P "$entry" "$new/$name"
  elif [ -d "$entry" ]; then
    mkdir "$new/$name"
    mount --bind -o ro "$entry" "$new/$name"
  fi
done
mkdir -p "$new/tmp" "$new/root" "$new/proc" "$new/dev" "$new/var/guix" "$new/var/log/guix" "$new/gnu/store" "$new/scratch"
chmod 1777 "$new/tmp"
mount --rbind /proc "$new/proc"
# Read-only: no command in here can remove the machine's devices.
mount --rbind /dev "$new/dev"
mount -o remount,bind,ro "$new/dev"
mount --bind "$scratch/gnu/store" "$new/gnu/store"
mount --bind "$scratch/var/guix" "$new/var/guix"
mount --bind "$scratch/var/log/guix" "$new/var/log/guix"
mount --bind "$scratch" "$new/scratch"
mount --bind "$scratch/etc/guix" "$new/etc/guix"

# Where guile-gcrypt was not configured, it looks for the library under the name that only its development files have.
mkdir "$new/links"
ln -s /usr/lib/x86_64-linux-gnu/libgcrypt.so.20 "$new/links/libgcrypt.so"

# Not chroot: in one, builds could make no namespaces.
mkdir "$new/old"
cd "$new"
pivot_root . old
umount -l /old
exec /usr/bin/env -i HOME=/root PATH=/usr/bin:/bin TERM=dumb LC_ALL=C.UTF-8 USER=root \
  GUILE_EXTENSIONS_PATH=/links LTDL_LIBRARY_PATH=/links LD_LIBRARY_PATH=/links GUILE_AUTO_COMPILE=0 "$@"
