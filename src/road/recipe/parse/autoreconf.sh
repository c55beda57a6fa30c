# SPDX-License-Identifier: GPL-3.0-or-later
# Makes configure for a source that has none, in a root with autoconf and what its macros need.
#
# shellcheck shell=sh disable=SC2154 # source and out come with the environment
set -eu
PATH=/usr/bin:/bin
export PATH

mkdir source
tar -xf "$source" -C source
cd source/*/

autoreconf --install --force
rm -rf autom4te.cache

mkdir "$out"
cp -R . "$out"
