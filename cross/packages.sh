#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Tries the packages against FreeBSD's headers and libraries on Debian 12: configures and compiles each with zig's clang
# for FreeBSD, from the sources that the recipes name, with the recipes' flags of stage0's kind. compile.sh says how.
#
#   cross/packages.sh BOOTSTRAP [PACKAGE]...
#
# Says for each package whether it passed: whether its programs carry FreeBSD's mark, ask for FreeBSD's loader, and
# need, as its libraries, no symbol that the libraries of FreeBSD and of the packages before lack. Run
# `cross/freebsd.sh link' or `build' first: they install zig and have it make the interfaces. Ends with 0 where all
# passed. Libraries stay under target/: guile needs those of libffi, libgc and libunistring. Of gcc the compilers are
# compiled, and nothing with them. Without PACKAGE, those are tried that were seen to pass and do not take long;
# binutils, gcc, libgc, libunistring and guile are not among them.
#
# Static programs, as stage0's are, cannot be tried so: zig has FreeBSD's libraries as interfaces only. With BASE in the
# environment, a directory that a base.txz was unpacked into, Debian's clang and lld (apt-get install clang lld) link
# static programs with that base's own headers and archives.
set -eu

cd "$(dirname "$0")/.."
tool=$1
shift
[ "$#" -gt 0 ] || set -- make sed grep gzip bzip2 xz patch diffutils findutils gawk tar coreutils bash file \
    zstd ld-wrapper hello which patchelf zlib libffi
work=$PWD/target/freebsd
mkdir -p "$work/packages"
# What the interfaces of FreeBSD's libraries offer, and the libraries of the packages before.
offered=$work/packages/offered

# offers FILE...: the symbols that the libraries offer, a line each: with their versions, and without where that is what
# one gets who asks for none.
offers() {
    readelf --dyn-syms -W "$@" | awk '
        $7 ~ /^[0-9]+$/ && NF >= 8 {
            symbol = $8
            if (sub(/@@/, "@", symbol) || symbol !~ /@/) {
                plain = symbol
                sub(/@.*/, "", plain)
                print plain
            }
            print symbol
        }' | sort -u
}

interfaces=
[ ! -d "$work/zig/o" ] || interfaces=$(find "$work/zig/o" -name 'lib*.so.[0-9]*')
# shellcheck disable=SC2086 # names without spaces
[ -z "$interfaces" ] || {
    offers $interfaces
    # Programs have it from their start code, for libraries, too.
    echo environ
} >"$offered"
cc=$work/bin/cc
cxx=$work/bin/c++
ar=$work/bin/ar
ranlib=$work/bin/ranlib
linking=
if [ -n "${BASE:-}" ]; then
    options="--target=x86_64-unknown-freebsd14.0 --sysroot=$BASE -fuse-ld=lld -Wno-unused-command-line-argument"
    cc="clang $options"
    cxx="clang++ -stdlib=libc++ $options"
    ar='ar'
    ranlib='ranlib'
    linking=-static
elif [ ! -x "$cc" ] || [ ! -s "$offered" ]; then
    echo "cross/packages.sh: no compiler or no libraries for FreeBSD; run cross/freebsd.sh link first" >&2
    exit 1
fi
: "${JOBS:=2}"
# Where libraries are installed, each package's in a directory of its own, for the packages that need them.
libraries=$work/packages/libraries
export ZIG_GLOBAL_CACHE_DIR="$work/zig" ZIG_LOCAL_CACHE_DIR="$work/zig"

# shellcheck source=SCRIPTDIR/compile.sh
. "$PWD/cross/compile.sh"

# lacking PROGRAM: the symbols that it needs and none of FreeBSD's libraries offers. Those of weak need it does without.
lacking() {
    readelf --dyn-syms -W "$1" | awk -v offered="$offered" '
        BEGIN { while ((getline symbol < offered) > 0) there[symbol] = 1 }
        $7 == "UND" && $5 == "GLOBAL" && !($8 in there) { printf " %s", $8 }'
}

# is_freebsds PROGRAM, whose headers are $headers: whether it is a program, and FreeBSD's. What it is for stands in a
# note; the kernel looks at that first, and linkers leave the header's own field at System V.
is_freebsds() {
    type=$(printf '%s\n' "$headers" | sed -n 's/^  Type: *\([A-Z]*\).*/\1/p')
    case $type in
        EXEC | DYN) ;;
        *)
            echo "$1 is of type $type"
            return 1
            ;;
    esac
    case $headers in
        *'UNIX - FreeBSD'* | *FreeBSD*NT_VERSION*) ;;
        *)
            echo "$1 does not say that it is FreeBSD's"
            return 1
            ;;
    esac
    [ -z "$linking" ] || return 0
    symbols=$(lacking "$1")
    [ -z "$symbols" ] || {
        echo "$1 needs what FreeBSD lacks:$symbols"
        return 1
    }
}

# inspect DIRECTORY LIBRARIES: whether every program in it is FreeBSD's; prints how many there are. None is needed where
# LIBRARIES were installed.
inspect() {
    count=0
    find "$1" -type f -perm -u+x | sort >"$1.programs"
    while IFS= read -r program; do
        headers=$(readelf -h -l -n "$program" 2>/dev/null) || continue
        # Not objects and libraries, and not the helpers that are compiled for the machine that compiles.
        case $linking$headers in
            -static*'Requesting program interpreter: /libexec/ld-elf.so.1'*)
                echo "$program is not static"
                return 1
                ;;
            *'Requesting program interpreter: /libexec/ld-elf.so.1'*)
                is_freebsds "$program" || return 1
                count=$((count + 1))
                ;;
            *'Requesting program interpreter'*'/lib64/ld-linux'*) ;;
            *'Requesting program interpreter'*)
                echo "$program asks for another loader"
                return 1
                ;;
            -static*'Type: '*EXEC*DYNAMIC*)
                # lld makes one for --export-dynamic, and FreeBSD's start code then leaves indirect functions
                # to a loader that there is not.
                echo "$program is static and has a dynamic section: it would crash at its start"
                return 1
                ;;
            -static*'Type: '*EXEC*)
                is_freebsds "$program" || return 1
                count=$((count + 1))
                ;;
        esac
    done <"$1.programs"
    [ "$count" -gt 0 ] || [ -d "$2" ] || {
        echo 'no program for FreeBSD came of it'
        return 1
    }
    echo "$count programs"
}

# inspect_libraries DIRECTORY...: whether the shared libraries that are there find what they need.
inspect_libraries() {
    count=0
    for directory; do
        [ -d "$directory" ] || continue
        offers "$directory"/lib*.so >>"$offered"
        for library in "$directory"/lib*.so; do
            symbols=$(lacking "$library") || return 1
            [ -z "$symbols" ] || {
                echo "$library needs what FreeBSD lacks:$symbols"
                return 1
            }
            count=$((count + 1))
        done
    done
    [ "$count" -eq 0 ] || echo ", $count libraries"
}

failed=
for package; do
    directory=$work/packages/$package
    log=$directory.log
    found=
    more=
    if source=$(source_of "$package" 2>"$log") && prepare "$package" "$source" "$directory" >>"$log" 2>&1 &&
        apply_patches "$package" "$directory" >>"$log" 2>&1 &&
        rm -rf "${libraries:?}/$package" &&
        (compile "$package" "$directory") >>"$log" 2>&1 &&
        more=$(inspect_libraries "$libraries/$package/lib" "$directory/libguile/.libs" 2>&1) &&
        found=$(inspect "$directory" "$libraries/$package" 2>&1); then
        echo "$package: passed, $found$more"
        rm -rf "$directory"
    else
        printf '%s\n' "$more$found" >>"$log"
        echo "$package: FAILED, see $log"
        failed=yes
    fi
done
[ -z "$failed" ]
