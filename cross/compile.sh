# shellcheck shell=sh disable=SC2154 # packages.sh defines what is not assigned here
# SPDX-License-Identifier: GPL-3.0-or-later
# How each package is compiled for FreeBSD; a part of packages.sh.

# source_of PACKAGE: where its source is, fetched or made.
source_of() {
    if [ "$1" = ld-wrapper ]; then
        echo "$PWD/stage0/ld-wrapper"
        return
    fi
    case $1 in
        patchelf) name=stage0/patchelf ;;
        *) name=$1 ;;
    esac
    "$tool" fetch "$name" >&2 || return 1
    echo "${BOOTSTRAP_ROOT:-}$("$tool" show "$name" | sed -n 's/^source: //p')"
}

# flags_of PACKAGE: what the recipe gives to configure, as far as it is not about other packages.
flags_of() {
    case $1 in
        make) echo --without-guile ${linking:+--disable-load} ;;
        sed) echo --disable-acl --without-selinux ;;
        grep) echo --disable-perl-regexp ;;
        bash) echo --without-bash-malloc --disable-readline --disable-history bash_cv_getenv_redef=no ;;
        coreutils) echo --without-libgmp --without-openssl --disable-acl --disable-xattr --disable-libcap ;;
        gawk) echo --disable-mpfr --without-readline --disable-extensions --disable-pma ;;
        findutils) echo --without-selinux ${linking:+ac_cv_func_random_r=no} ;;
        tar) echo --without-posix-acls --without-selinux --without-xattrs ;;
        xz) echo --disable-doc --disable-shared ;;
        patch) echo --disable-xattr ;;
        file)
            echo --disable-zlib --disable-bzlib --disable-xzlib --disable-zstdlib --disable-lzlib
            echo --disable-libseccomp --disable-shared
            ;;
        binutils)
            echo --disable-gdb --disable-gprofng --disable-shared --disable-werror --enable-deterministic-archives
            echo --enable-new-dtags --enable-separate-code --enable-threads --enable-64-bit-bfd --without-zstd
            [ -z "$linking" ] || echo --disable-plugins --disable-gprof
            ;;
        gcc)
            echo --target=x86_64-unknown-freebsd14 --enable-languages=c,c++ --disable-bootstrap --disable-multilib
            echo --disable-default-pie --disable-plugin --disable-libcc1 --without-isl --without-zstd
            echo --enable-gnu-indirect-function --enable-initfini-array --disable-lto
            [ -z "$linking" ] || echo --with-stage1-ldflags=-static
            ;;
        libffi) echo --enable-portable-binary --without-gcc-arch --disable-docs --disable-builddir ;;
        # Where it compiles for itself, configure finds the compiler's own atomic operations.
        # zig's C++ library is an archive, which libtool does not link to shared ones.
        libgc) echo --disable-cplusplus --with-libatomic-ops=none ;;
        guile)
            echo --disable-static --enable-mini-gmp --enable-lto=no gl_cv_func_posix_spawnp_secure_exec=yes
            echo "--with-libunistring-prefix=$libraries/libunistring"
            # The one that runs on this machine only compiles modules, which are not tried.
            echo GUILE_FOR_BUILD=/bin/true
            sed -n "s/^PACKAGE_VERSION='\(.*\)'\$/ac_cv_guile_for_build_version=\1/p" configure
            ;;
    esac
}

# is_library PACKAGE: whether others need it. Its shared libraries are what is tried, also where programs are static.
is_library() {
    case $1 in
        zlib | libffi | libgc | libunistring) ;;
        *) return 1 ;;
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

# unpack_gcc SOURCE DIRECTORY: Debian's archive holds another one; and the arithmetic libraries, which are compiled with
# gcc. `fetch' has fetched them.
unpack_gcc() {
    unpack "$1" "$2.archive"
    for archive in "$2.archive"/gcc-*.tar.xz; do
        [ ! -f "$archive" ] || unpack "$archive" "$2"
    done
    [ -d "$2" ] || mv "$2.archive" "$2"
    rm -rf "$2.archive"
    "$tool" show gcc | sed -n 's/^extra-source: //p' >"$2.extra"
    while read -r name path; do
        unpack "${BOOTSTRAP_ROOT:-}$path" "$2/$name"
    done <"$2.extra"
    # As in the recipe.
    if [ ! -e "$2/gmp/doc/Makefile.in" ]; then
        mkdir -p "$2/gmp/doc"
        echo 'all install check clean mostlyclean distclean:' >"$2/gmp/doc/Makefile.in"
    fi
    sed -e 's/ install-man install-info / /' -e 's/^doc: .*/doc:/' "$2/gcc/Makefile.in" >"$2.makefile"
    mv "$2.makefile" "$2/gcc/Makefile.in"
}

# prepare PACKAGE SOURCE DIRECTORY: unpacks the source.
prepare() {
    case $1 in
        gcc) unpack_gcc "$2" "$3" ;;
        *) unpack "$2" "$3" ;;
    esac
}

# What zig's clang refuses, and that of FreeBSD 13.5 to 15.0 (19 at most) warns of: make's own glob has it. Both refuse
# the same of pointers to functions.
lenient='-O1 -Wno-error -Wno-error=incompatible-pointer-types -Werror=incompatible-function-pointer-types'

# compile PACKAGE DIRECTORY: leaves programs somewhere in it.
compile() {
    cd "$2" || return 1
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
        patchelf)
            # Programs of other systems.
            rm -rf tests
            # shellcheck disable=SC2086 # words
            $cxx -std=c++17 -O1 -D_FILE_OFFSET_BITS=64 '-DPACKAGE_STRING="patchelf"' $linking -o patchelf src/patchelf.cc
            return
            ;;
        zlib)
            # Its configure links without what its version script names, which GNU ld allows, and lld only so.
            CHOST=x86_64-unknown-freebsd14 CC=$cc AR=$ar RANLIB=$ranlib CFLAGS="$lenient -Wl,--undefined-version" \
                ./configure --prefix="$libraries/$1" || return 1
            make -j"$JOBS" libz.a shared && make install
            return
            ;;
        gcc)
            # Its own configure scripts do not want to run in the source's directory. M4: as in the recipe.
            mkdir objects && cd objects || return 1
            # shellcheck disable=SC2046 # lists of words
            M4=true ../configure --host=x86_64-unknown-freebsd14 --build=x86_64-pc-linux-gnu --disable-nls \
                CC="$cc" CXX="$cxx" AR="$ar" RANLIB="$ranlib" CFLAGS="$lenient" CXXFLAGS='-O1' $(flags_of "$1") || return 1
            # The new compiler is asked for its specs, and does not run here.
            make -j"$JOBS" MAKEINFO=true GCC_FOR_TARGET=true all-gcc
            return
            ;;
        guile)
            # As in the recipe.
            export CPPFLAGS='-Dsetjmp=_setjmp -Dlongjmp=_longjmp'
            # What looks for them by pkg-config.
            export BDW_GC_CFLAGS="-I$libraries/libgc/include" BDW_GC_LIBS="-L$libraries/libgc/lib -lgc"
            export LIBFFI_CFLAGS="-I$libraries/libffi/include" LIBFFI_LIBS="-L$libraries/libffi/lib -lffi"
            ;;
    esac
    link=$linking
    installed=
    if is_library "$1"; then
        link=
        installed=--prefix=$libraries/$1
    fi
    # `file' compiles its database with itself: this machine's own has to do, where it is the same version; else
    # only the library and the program are made.
    # shellcheck disable=SC2046 # lists of words
    ./configure --host=x86_64-unknown-freebsd14 --build=x86_64-pc-linux-gnu --disable-nls --disable-dependency-tracking \
        CC="$cc" CXX="$cxx" AR="$ar" RANLIB="$ranlib" CFLAGS="$lenient" LDFLAGS="$link" ${installed:+"$installed"} \
        $(flags_of "$1") || return 1
    case $1 in
        # libtool keeps -static to itself: to it, that is about its own libraries only.
        xz | file | binutils) static=${linking:+LDFLAGS=-all-static} ;;
        *) static= ;;
    esac
    case $1 in
        file) make -j"$JOBS" ${static:+"$static"} -C src ;;
        binutils) make -j"$JOBS" MAKEINFO=true ${static:+"$static"} ;;
        xz) make -j"$JOBS" ${static:+"$static"} ;;
        libffi | libgc | libunistring)
            make -j"$JOBS" MAKEINFO=true && make MAKEINFO=true install
            ;;
        guile)
            # This runs here. The makefile would compile it with Guile's strings.h in place of this machine's.
            (cd libguile && cc -DHAVE_CONFIG_H -iquote . -I.. -c gen-scmconfig.c) || return 1
            # `all' has a manual, too, which the new Guile would have to run for. Without `all', what the makefile makes
            # first has to be asked for.
            make -C libguile scmconfig.h && make -j"$JOBS" -C lib &&
                printf '%s\n' 'include Makefile' 'sources: $(BUILT_SOURCES)' |
                make -j"$JOBS" -C libguile -f - sources &&
                make -j"$JOBS" -C libguile guile
            ;;
        *) make -j"$JOBS" MAKEINFO=true ;;
    esac
}
