#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Tries the plain C packages against FreeBSD's headers and libraries on Debian 12: configures and compiles each with
# zig's clang for FreeBSD, from the sources that the recipes name, with the recipes' flags of stage0's kind.
#
#   cross/packages.sh BOOTSTRAP [PACKAGE]...
#
# Says for each package whether it passed: whether its programs carry FreeBSD's mark, ask for FreeBSD's loader, and need
# no symbol that FreeBSD's libraries lack. Run `cross/freebsd.sh link' or `build' first: they install zig and have it
# make the interfaces. Ends with 0 where all passed.
#
# Static programs, as stage0's are, cannot be tried so: zig has FreeBSD's libraries as interfaces only. With BASE in the
# environment, a directory that a base.txz was unpacked into, Debian's clang and lld (apt-get install clang lld) link
# static programs with that base's own headers and archives.
set -eu

cd "$(dirname "$0")/.."
tool=$1
shift
[ "$#" -gt 0 ] || set -- make sed grep gzip bzip2 xz patch diffutils findutils gawk tar coreutils bash file \
    zstd ld-wrapper hello which
work=$PWD/target/freebsd
mkdir -p "$work/packages"
# What the interfaces of FreeBSD's libraries offer, a symbol a line: with its version, and without where that is what
# one gets who asks for none.
offered=$work/packages/offered
[ ! -d "$work/zig/o" ] || find "$work/zig/o" -name 'lib*.so.[0-9]*' -exec readelf --dyn-syms -W {} + | awk '
    $7 ~ /^[0-9]+$/ && NF >= 8 {
        symbol = $8
        if (sub(/@@/, "@", symbol) || symbol !~ /@/) {
            plain = symbol
            sub(/@.*/, "", plain)
            print plain
        }
        print symbol
    }' | sort -u >"$offered"
cc=$work/bin/cc
ar=$work/bin/ar
ranlib=$work/bin/ranlib
linking=
if [ -n "${BASE:-}" ]; then
    cc="clang --target=x86_64-unknown-freebsd14.0 --sysroot=$BASE -fuse-ld=lld -Wno-unused-command-line-argument"
    ar='ar'
    ranlib='ranlib'
    linking=-static
elif [ ! -x "$cc" ] || [ ! -s "$offered" ]; then
    echo "cross/packages.sh: no compiler or no libraries for FreeBSD; run cross/freebsd.sh link first" >&2
    exit 1
fi
: "${JOBS:=2}"
export ZIG_GLOBAL_CACHE_DIR="$work/zig" ZIG_LOCAL_CACHE_DIR="$work/zig"

# source_of PACKAGE: where its source is, fetched or made.
source_of() {
    if [ "$1" = ld-wrapper ]; then
        echo "$PWD/stage0/ld-wrapper"
        return
    fi
    "$tool" fetch "$1" >&2 || return 1
    echo "${BOOTSTRAP_ROOT:-}$("$tool" show "$1" | sed -n 's/^source: //p')"
}

# flags_of PACKAGE: what the recipe gives to configure, as far as it is not about other packages.
flags_of() {
    case $1 in
        make) echo --without-guile ${linking:+--disable-load} ;;
        sed) echo --disable-acl --without-selinux ;;
        grep) echo --disable-perl-regexp ;;
        bash) echo --without-bash-malloc --disable-readline --disable-history bash_cv_getenv_redef=no bash_cv_func_strtoimax=no ;;
        coreutils) echo --without-libgmp --without-openssl --disable-acl --disable-xattr --disable-libcap ;;
        gawk) echo --disable-mpfr --without-readline --disable-extensions --disable-pma ;;
        findutils) echo --without-selinux ;;
        tar) echo --without-posix-acls --without-selinux --without-xattrs ;;
        xz) echo --disable-doc --disable-shared ;;
        patch) echo --disable-xattr ;;
        file)
            echo --disable-zlib --disable-bzlib --disable-xzlib --disable-zstdlib --disable-lzlib
            echo --disable-libseccomp --disable-shared
            ;;
    esac
}

unpack() {
    rm -rf "$2"
    mkdir -p "$2"
    if [ -d "$1" ]; then
        # With its times, which are all the same: copied one after the other, some files look older than what
        # they were made from, and make would make them again.
        cp -Rp "$1/." "$2/"
        chmod -R u+w "$2"
    else
        tar -xf "$1" -C "$2" --strip-components=1
    fi
}

# apply_patches PACKAGE DIRECTORY: the recipe's, all of which are for the sources that are fetched here, Debian's.
apply_patches() {
    for change in recipes/"$1"/*.patch; do
        [ ! -f "$change" ] || patch -p1 -t -d "$2" -i "$PWD/$change" || return 1
    done
    # Debian's archive lacks doc/, which configure and make ask for. Only programs are tried here.
    if [ "$1" = make ] && [ ! -e "$2/doc/Makefile.in" ]; then
        mkdir -p "$2/doc"
        echo 'all:' >"$2/doc/Makefile.in"
        : >"$2/doc/make.1"
    fi
}

# What zig's clang refuses, and that of FreeBSD 13.5 to 15.0 (19 at most) warns of: make's own glob has it. Both refuse
# the same of pointers to functions.
lenient='-O1 -Wno-error -Wno-error=incompatible-pointer-types -Werror=incompatible-function-pointer-types'

# compile PACKAGE DIRECTORY: leaves programs somewhere in it.
compile() {
    cd "$2"
    case $1 in
        bzip2)
            make -j"$JOBS" CC="$cc" AR="$ar" RANLIB="$ranlib" CFLAGS="$lenient" LDFLAGS="$linking" \
                libbz2.a bzip2 bzip2recover
            return
            ;;
        zstd)
            # As where uname says FreeBSD, with what the recipe says for that.
            CFLAGS=$lenient LDFLAGS=$linking make -j"$JOBS" -C programs zstd UNAME=FreeBSD HASH=md5sum \
                CC="$cc" HAVE_ZLIB=0 HAVE_LZMA=0 HAVE_LZ4=0
            return
            ;;
        ld-wrapper)
            # shellcheck disable=SC2086 # words
            $cc -std=c11 -D_XOPEN_SOURCE=700 -Wall -Wextra -Werror -O1 $linking -DREAL_LD='"/ld"' -DLOADER='"/loader"' \
                -DEMULATION='"elf_x86_64_fbsd"' -o ld ./*.c
            return
            ;;
    esac
    # `file' compiles its database with itself: this machine's own has to do, where it is the same version; else
    # only the library and the program are made.
    # shellcheck disable=SC2046 # lists of words
    ./configure --host=x86_64-unknown-freebsd14 --build=x86_64-pc-linux-gnu --disable-nls --disable-dependency-tracking \
        CC="$cc" AR="$ar" RANLIB="$ranlib" CFLAGS="$lenient" LDFLAGS="$linking" $(flags_of "$1")
    case $1 in
        # libtool keeps -static to itself: to it, that is about its own libraries only.
        xz | file) static=${linking:+LDFLAGS=-all-static} ;;
        *) static= ;;
    esac
    case $1 in
        file) make -j"$JOBS" ${static:+"$static"} -C src ;;
        xz) make -j"$JOBS" ${static:+"$static"} ;;
        *) make -j"$JOBS" MAKEINFO=true ;;
    esac
}

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

# inspect DIRECTORY: whether every program in it is FreeBSD's; prints how many there are.
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
    [ "$count" -gt 0 ] || {
        echo 'no program for FreeBSD came of it'
        return 1
    }
    echo "$count programs"
}

failed=
for package; do
    directory=$work/packages/$package
    log=$directory.log
    if source=$(source_of "$package" 2>"$log") && unpack "$source" "$directory" >>"$log" 2>&1 &&
        apply_patches "$package" "$directory" >>"$log" 2>&1 &&
        (compile "$package" "$directory") >>"$log" 2>&1 && found=$(inspect "$directory" 2>&1); then
        echo "$package: passed, $found"
        rm -rf "$directory"
    else
        echo "$package: FAILED, see $log"
        failed=yes
    fi
done
[ -z "$failed" ]
