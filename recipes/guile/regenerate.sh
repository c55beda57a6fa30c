# Debian's archive of Guile is its repository's: no configure, no Makefile.in, and nothing that flex and gperf
# make.  This makes them, in a root with autoconf, automake, libtool, gettext and gperf.
#
# shellcheck shell=sh disable=SC2154 # source and out come with the environment
set -eu
PATH=/usr/bin:/bin
export PATH

tar -xf "$source"
cd guile-3.0-*/

# The version otherwise comes from git.
echo 3.0.10 >.tarball-version

# gettext's macros are in the archive; autopoint would bring older ones.
cp /usr/share/gettext/config.rpath build-aux/
AUTOPOINT=true autoreconf --install --force
rm -rf autom4te.cache

flex -t libguile/c-tokenize.lex >libguile/c-tokenize.c
for table in lib/*.gperf; do
    header=${table%.gperf}.h
    gperf -m 10 "$table" >"$header"
done

mkdir "$out"
cp -R . "$out"
