# Makes of SQLite's repository what its releases hold: one file of C, and a configure for it.
#
# shellcheck shell=sh disable=SC2154 # source and out come with the environment
set -eu
PATH=/usr/bin:/bin
export PATH

mkdir source build
tar -xf "$source" -C source --strip-components=1

# Makes the tools with which make makes the one file.
cd build
CC=clang ../source/configure --disable-tcl --disable-readline
# The number of jobs in MAKEFLAGS is for GNU make.
MAKEFLAGS='' make sqlite3.c sqlite3.h shell.c

cp sqlite3.c sqlite3.h sqlite3ext.h shell.c ../source/autoconf/
cd ../source
cp sqlite3.1 sqlite3.pc.in autoconf/
cp src/sqlite3.rc autoconf/
version=$(cat VERSION)
cd autoconf
# What it names for Windows alone.
sed "s/--SQLITE-VERSION--/$version/" configure.ac >configure.new
mv configure.new configure.ac
sed '/^EXTRA_DIST/d' Makefile.am >Makefile.new
mv Makefile.new Makefile.am
rm -rf tea
autoreconf --install --force
rm -rf autom4te.cache

mkdir "$out"
cp -R . "$out"
