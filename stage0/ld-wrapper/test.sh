#!/bin/sh
# test.sh -- ld-wrapper's behaviour, with a stand-in for the linker.
#
# usage: CC=COMPILER SHELL=SHELL test.sh, in this directory.  It makes a directory under
# TMPDIR and plays a store there.
#
# shellcheck disable=SC2016 # a dollar sign in quotes is meant
set -eu

source=$(pwd -P)
work=$(cd "${TMPDIR:-/tmp}" && pwd -P)/ld-wrapper-test.$$
trap 'rm -rf "$work"' EXIT
mkdir "$work"
store=$work/store
mkdir -p "$store/a/lib" "$store/b/lib" "$store/c/lib" "$store/libc/lib" \
    "$work/profile/lib" "$work/outside" "$work/build/libs" "$work/temporary"
: >"$store/a/lib/liba.so.1.2"
ln -s liba.so.1.2 "$store/a/lib/liba.so"
: >"$store/a/lib/libboth.so"
: >"$store/a/lib/libboth.a"
: >"$store/b/lib/libb.so"
: >"$store/b/lib/libonly.a"
: >"$store/c/lib/libonly.so"
: >"$store/c/lib/libodd.so.3"
ln -s "$store/b/lib/libb.so" "$work/profile/lib/libprofile.so"
: >"$work/outside/libout.so"
: >"$work/outside/libout.a"
ln -s "$work/outside/libout.so" "$store/c/lib/libescape.so"
: >"$work/build/libs/libmine.so"
loader=$store/libc/lib/ld.so

# The stand-in prints its arguments, one a line.
cat >"$work/real-ld" <<END
#!${SHELL:-/bin/sh}
printf '%s\\n' "\$@"
END
chmod +x "$work/real-ld"

"${CC:-cc}" -std=c11 -D_XOPEN_SOURCE=700 -O1 -DREAL_LD="\"$work/real-ld\"" -DLOADER="\"$loader\"" \
    -DEMULATION='"elf_test"' -o "$work/ld" "$source"/*.c

NIX_STORE=$store TMPDIR=$work/temporary NIX_BUILD_TOP=$work/build
export NIX_STORE TMPDIR NIX_BUILD_TOP
unset GUIX_LD_WRAPPER_ALLOW_IMPURITIES GUIX_LD_WRAPPER_DISABLE_RPATH GUIX_LD_WRAPPER_DEBUG
cd "$work/build"

failures=0
failed() {
    failures=$((failures + 1))
    echo "FAIL: $*" >&2
}

# adds NAME EXPECTED ARGUMENT...: the wrapper passes its arguments on, and then EXPECTED.
adds() {
    test=$1 expected=$2
    shift 2
    given=$(printf '%s ' "$@")
    if ! seen=$("$work/ld" "$@" 2>"$work/stderr" | tr '\n' ' '); then
        failed "$test: exit status"
    elif [ "$seen" != "$given${expected:+$expected }" ]; then
        failed "$test: expected \`$given$expected', seen \`$seen', stderr: $(cat "$work/stderr")"
    fi
}

# refuses NAME MESSAGE ARGUMENT...: the wrapper stops, with MESSAGE.
refuses() {
    test=$1 expected=$2
    shift 2
    if seen=$("$work/ld" "$@" 2>"$work/stderr"); then
        failed "$test: ran the linker: $seen"
    elif ! grep -F -e "$expected" "$work/stderr" >/dev/null; then
        failed "$test: expected the message \`$expected', seen \`$(cat "$work/stderr")'"
    fi
}

A=$store/a/lib B=$store/b/lib C=$store/c/lib
D="-dynamic-linker $loader"

adds 'nothing to add' '' -o x main.o
adds 'no arguments' '' --version
adds 'rpath for -l' "-rpath $A $D" -o x main.o -L"$A" -la
adds '-L and -l apart from their values' "-rpath $A $D" -o x main.o -L "$A" -l a
adds 'long options' "-rpath $A $D" -o x --library-path="$A" --library=a
adds 'long options apart from their values' "-rpath $A $D" -o x -library-path "$A" --library a
adds '-L counts for all -l' "-rpath $A $D" -o x -la -L"$A"
adds 'order of -l' "-rpath $B -rpath $A $D" -L"$A" -L"$B" -lb -la
adds 'once for each directory' "-rpath $A $D" -L"$A" -la -lboth -la
adds 'an unknown library is left to the linker' '' -L"$A" -lnone
adds 'named file' "-rpath $B $D" -o x main.o "$B/libb.so"
adds 'named file with a version' "-rpath $A $D" -o x main.o "$A/liba.so.1.2"
adds 'exact name' "-rpath $C $D" -o x -L"$A" -L"$C" -l:libodd.so.3
adds 'unused -L' '' -o x main.o -L"$A"
adds 'a static library needs no rpath' '' -o x -L"$B" -lonly
adds 'the first directory wins, static or not' '' -o x -L"$B" -L"$C" -lonly
adds 'static link' '' -static -o x -L"$A" -lboth
adds '-Bstatic up to -Bdynamic' "-rpath $B $D" -o x -L"$A" -L"$B" -Bstatic -lboth -Bdynamic -lb
adds '--push-state' "-rpath $B $D" -L"$A" -L"$B" --push-state -Bstatic -lboth --pop-state -lb
adds 'static -pie without a loader' '' -static -pie --no-dynamic-linker -o x -L"$A" -lboth
adds 'a pie needs a loader' "$D" -pie -o x main.o
adds 'shared library: no loader' "-rpath $A" -shared -o libx.so main.o -L"$A" -la
adds 'the output is no library' '' -shared -o "$A/libx.so" main.o
adds 'the soname is no library' '' -shared -soname "$A/libx.so" main.o
adds 'the plugin is no library' '' -plugin "$A/liblto_plugin.so" -plugin-opt=pass main.o
adds 'the loader is no library' '' -dynamic-linker "$loader" main.o
adds 'given loader of the store' "-rpath $A" -dynamic-linker "$loader" -L"$A" -la
adds 'given loader of the store, with =' "-rpath $A" --dynamic-linker="$loader" -L"$A" -la
adds 'given loader of the build' "-rpath $A" -dynamic-linker "$work/build/ld.so" -L"$A" -la
adds 'foreign loader' "-rpath $A $D" -dynamic-linker /lib/ld.so.1 -L"$A" -la
adds 'emulation of the loader' "-rpath $A $D" -m elf_test -L"$A" -la
adds 'another emulation' "-rpath $A" -m elf_other -L"$A" -la
adds '-r' '' -r -o x.o main.o -L"$A" -la
adds 'library of the build, relative' "$D" -o x main.o -Llibs -lmine libs/libmine.so
adds 'library of the build, absolute' "$D" -o x main.o "$work/build/libs/libmine.so"
adds 'profile: the directory in the store' "-rpath $B $D" -L"$work/profile/lib" -lprofile
adds 'sysroot' "-rpath $A $D" --sysroot="$store" -L=/a/lib -la
adds 'missing value' '' -o x -L

refuses 'impure -l' "refusing to link with $work/outside/libout.so" -L"$work/outside" -lout
refuses 'impure file' "refusing to link with $work/outside/libout.so" "$work/outside/libout.so"
refuses 'impure archive' "$work/outside/libout.a" -static -L"$work/outside" -lout
refuses 'impure with -r' "$work/outside/libout.a" -r "$work/outside/libout.a"
refuses 'way out of the store by ..' "$store/../outside/libout.so" "$store/../outside/libout.so"
refuses 'name that only starts like the store' "$store-not/lib/libz.so" "$store-not/lib/libz.so"

GUIX_LD_WRAPPER_ALLOW_IMPURITIES=no
export GUIX_LD_WRAPPER_ALLOW_IMPURITIES
refuses 'impurities=no' "refusing to link" "$work/outside/libout.so"
GUIX_LD_WRAPPER_ALLOW_IMPURITIES=yes
adds 'impurities=yes' "$D" "$work/outside/libout.so"
adds 'impurities=yes: the loader too' '' -dynamic-linker /lib/ld.so "$work/outside/libout.so"
GUIX_LD_WRAPPER_ALLOW_IMPURITIES=maybe
refuses 'impurities=maybe' 'must be "yes" or "no"' main.o
unset GUIX_LD_WRAPPER_ALLOW_IMPURITIES NIX_BUILD_TOP
adds 'outside of a build impurities are allowed' "$D" "$work/outside/libout.so"
NIX_BUILD_TOP=$work/build
export NIX_BUILD_TOP

GUIX_LD_WRAPPER_DISABLE_RPATH=1
export GUIX_LD_WRAPPER_DISABLE_RPATH
adds 'no rpath' "$D" -L"$A" -la
unset GUIX_LD_WRAPPER_DISABLE_RPATH

# Response files: read for their meaning, passed on as they are.
printf '%s\n' "-L$A" '-la  "@two"' >one
printf '%s' "-o 'a b' \"-L$B\" -l\\b" >two
adds 'response file in a response file' "-rpath $A -rpath $B $D" -o x @one
adds 'response file that is not there' '' @none
printf '%s' '@loop' >loop
refuses 'response file that names itself' 'response files' @loop
: >empty
adds 'empty response file' '' @empty
long=$(printf '%0.1000d' 0)
long=$long$long$long$long$long
printf '%s' "$long -L$A -la" >long
adds 'response file with a long word' "-rpath $A $D" @long

if ! GUIX_LD_WRAPPER_DEBUG=1 "$work/ld" main.o 2>&1 >/dev/null | grep 'invoking .*"main.o"' >/dev/null; then
    failed 'debug: says what is run'
fi
rm "$work/real-ld"
refuses 'no linker' "cannot run $work/real-ld" main.o

if [ "$failures" -ne 0 ]; then
    echo "ld-wrapper: $failures tests failed" >&2
    exit 1
fi
echo "ld-wrapper: all tests passed"
