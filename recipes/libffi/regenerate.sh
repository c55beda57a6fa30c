# Debian's archive of libffi is its repository's, without configure.  This makes it, in a root with autoconf, automake
# and libtool.
#
# shellcheck shell=sh disable=SC2154 # source and out come with the environment
set -eu
PATH=/usr/bin:/bin
export PATH

tar -xf "$source"
cd libffi-3.4.8/

autoreconf --install --force
rm -rf autom4te.cache

mkdir "$out"
cp -R . "$out"
