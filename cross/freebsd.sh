#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Cross-compiles the tool for FreeBSD on Debian 12.
#
#   cross/freebsd.sh build          leaves target/x86_64-unknown-freebsd/release/bootstrap
#   cross/freebsd.sh link           only sees whether the program links: not optimised, and so much sooner
#   cross/freebsd.sh tests          leaves daemon-tests beside it, for tests/freebsd/daemon.sh
#   cross/freebsd.sh clippy [ARG]…  lints and type-checks what only FreeBSD compiles
#
# Rust's distribution has a standard library for FreeBSD, but only as a download of its own. Debian has
# the library's sources instead, and a compiler of exactly their version: the library is compiled here.
# Linker, C compiler, FreeBSD's headers and the interfaces of its libraries come with zig, from PyPI.
#
# What is installed: Debian's rustc-web, cargo-web, rust-web-src and rust-web-clippy, under /usr, where
# missing (as root); zig, under target/. A Rust of rustup's, earlier in PATH, stays what `cargo' means.
set -eu

cd "$(dirname "$0")/.."
here=$PWD

# The oldest FreeBSD whose interfaces are linked against; zig knows 14.0 and newer.
release=14.0
zig_version=0.17.1
target=x86_64-unknown-freebsd
# Apart from the host's target folder: that one is another compiler's.
work=$here/target/freebsd

fail() {
    echo "cross/freebsd.sh: $*" >&2
    exit 1
}

# install_debian PACKAGE...: installs those that are not there.
install_debian() {
    missing=
    for package in "$@"; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=none
        [ "$state" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    # --no-remove: a Rust that other Debian packages depend on stays; then this fails.
    # shellcheck disable=SC2086 # a list
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends --no-remove $missing >&2 ||
        fail "cannot install$missing (as root, after apt-get update: apt-get install$missing)"
}

install_zig() {
    [ ! -x "$work/venv/bin/zig-$zig_version" ] || return 0
    rm -rf "$work/venv"
    # Debian's python3 comes without it.
    python3 -c 'import ensurepip' 2>/dev/null || install_debian python3 python3-venv
    python3 -m venv "$work/venv" || fail 'cannot make a Python environment (python3 -m venv)'
    "$work/venv/bin/pip" install -q --disable-pip-version-check "ziglang==$zig_version" ||
        fail "cannot install ziglang $zig_version from PyPI"
    zig=$("$work/venv/bin/python" -c 'import os, ziglang; print(os.path.join(os.path.dirname(ziglang.__file__), "zig"))')
    ln -s "$zig" "$work/venv/bin/zig-$zig_version"
}

# program NAME: makes the script $work/bin/NAME of what is on standard input.
program() {
    cat >"$work/bin/$1.new"
    chmod +x "$work/bin/$1.new"
    mv "$work/bin/$1.new" "$work/bin/$1"
}

# The programs that cargo and the build scripts of crates call.
make_programs() {
    zig=$work/venv/bin/zig-$zig_version
    mkdir -p "$work/bin"
    # Crates' build scripts name the target themselves, by Rust's name for it, which zig does not know. And
    # Rust's standard library asks for four libraries that nothing here calls, and that zig does not have; were
    # one called after all, the linker would say so.
    for compiler in cc c++; do
        program "$compiler" <<END
#!/bin/sh
skip=
for argument; do
    shift
    if [ -n "\$skip" ]; then
        skip=
        continue
    fi
    case \$argument in
        --target=*) ;;
        -target) skip=yes ;;
        -ldevstat | -lkvm | -lmemstat | -lprocstat) ;;
        *) set -- "\$@" "\$argument" ;;
    esac
done
exec '$zig' $compiler -target x86_64-freebsd.$release "\$@"
END
    done
    program ar <<END
#!/bin/sh
exec '$zig' ar "\$@"
END
    program ranlib <<END
#!/bin/sh
exec '$zig' ranlib "\$@"
END
}

cross_cargo() {
    # One matching set: neither rustup's programs nor a wrapper of the caller's.
    unset RUSTC_WRAPPER RUSTUP_TOOLCHAIN CARGO_ENCODED_RUSTFLAGS RUSTFLAGS
    PATH=/usr/bin:$PATH \
        RUSTC=/usr/bin/rustc \
        RUSTC_BOOTSTRAP=1 \
        CARGO_TARGET_DIR="$work/cargo" \
        CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_LINKER="$work/bin/cc" \
        CC_x86_64_unknown_freebsd="$work/bin/cc" \
        AR_x86_64_unknown_freebsd="$work/bin/ar" \
        RANLIB_x86_64_unknown_freebsd="$work/bin/ranlib" \
        ZIG_GLOBAL_CACHE_DIR="$work/zig" \
        ZIG_LOCAL_CACHE_DIR="$work/zig" \
        /usr/bin/cargo "$@"
}

[ "$#" -gt 0 ] || fail 'expected `build'\'', `tests'\'', `link'\'' or `clippy'\'''
action=$1
shift
install_debian rustc-web cargo-web rust-web-src rust-web-clippy
mkdir -p "$work"
install_zig
make_programs
set -- --locked --target "$target" -Zbuild-std=std,panic_unwind "$@"
# leave FILE NAME: makes FILE the result NAME.
leave() {
    result=target/$target/release
    mkdir -p "$result"
    cp "$1" "$result/$2.new"
    mv "$result/$2.new" "$result/$2"
    echo "$result/$2"
}
case $action in
    build)
        cross_cargo build --release --bin bootstrap "$@"
        leave "$work/cargo/$target/release/bootstrap" bootstrap
        ;;
    tests)
        # cargo names the file by a hash, and says so in JSON alone.
        messages=$work/messages
        cross_cargo test --release --no-run --test daemon --message-format json-render-diagnostics "$@" >"$messages"
        built=$(sed -n 's/.*"name":"daemon".*"executable":"\([^"]*\)".*/\1/p' "$messages")
        [ -x "$built" ] || fail 'cargo names no test program'
        leave "$built" daemon-tests
        ;;
    link) cross_cargo build --bin bootstrap "$@" ;;
    clippy) cross_cargo clippy --lib --bins --tests "$@" -- -D warnings ;;
    *) fail "unknown action \`$action': expected \`build', \`tests', \`link' or \`clippy'" ;;
esac
