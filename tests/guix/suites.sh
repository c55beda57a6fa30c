#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Guix's own tests of the store and of derivations, against guix-daemon and against `bootstrap daemon'.
#
#   BOOTSTRAP_GUIX_ROOT=DIR BOOTSTRAP_GUIX_SOURCE=SOURCE tests/guix/suites.sh [BOOTSTRAP]
#
# DIR is a root with Guix, which is not changed. SOURCE is a directory with Guix's source, of the version in DIR or one
# near it: tests/store.scm, tests/derivations.scm and tests/test.drv are taken from there. Ends with 1 where a test
# passes with guix-daemon and fails with ours, unless suites.known names it. Needs root. Skipped, with the reason, where
# a directory is missing.
#
# Many of these tests want statically linked `bash' and `mkdir' of Guix's bootstrap. Where BOOTSTRAP_STATIC_BASH and
# BOOTSTRAP_STATIC_BUSYBOX name programs, these stand in; else such tests fail with both daemons.
set -eu

program=$(realpath "${1:-target/debug/bootstrap}")
here=$(dirname "$(realpath "$0")")
source=${BOOTSTRAP_GUIX_SOURCE:-}
# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
need_guix
for file in store.scm derivations.scm test.drv; do
    if [ ! -f "$source/tests/$file" ]; then
        echo "skipped: BOOTSTRAP_GUIX_SOURCE names no directory with Guix's source: tests/$file is missing"
        exit 0
    fi
done
own_mounts "$0" "$@"
serve_site

mkdir "$place/test/source"
cp -r "$source/tests" "$place/test/source/"
cp "$here/suites.scm" "$place/test"

# prepare NAME: a root in which the tests find what they want.
prepare() {
    make_root "$1"
    mkdir -p "$inside/etc/guix" "$inside/var/guix/substituter-data"
    # The kind of key that Guix makes; those of its test suite are RSA keys, which ours does not take.
    chroot "$inside" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root GUILE_AUTO_COMPILE=0 \
        guix archive --generate-key='(genkey (ecdsa (curve Ed25519) (flags rfc6979)))' >"$place/key.log" 2>&1 ||
        { cat "$place/key.log"; exit 1; }
    printf '(acl (entry %s (tag (guix import))))\n' "$(cat "$inside/etc/guix/signing-key.pub")" >"$inside/etc/guix/acl"
    programs=$inside/usr/share/guile/site/3.0/gnu/packages/bootstrap/i686-linux
    mkdir -p "$programs"
    [ -z "${BOOTSTRAP_STATIC_BASH:-}" ] || cp "$BOOTSTRAP_STATIC_BASH" "$programs/bash"
    [ -z "${BOOTSTRAP_STATIC_BUSYBOX:-}" ] || cp "$BOOTSTRAP_STATIC_BUSYBOX" "$programs/mkdir"
}

# test_with NAME: runs the tests in the root of NAME.
test_with() {
    inside=$place/mounts/$1/root
    until [ -S "$inside/var/guix/daemon-socket/socket" ]; do
        kill -0 "$(cat "$place/$1.pid")" || { cat "$place/$1.log"; exit 1; }
        sleep 0.2
    done
    chroot "$inside" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root LC_ALL=C.UTF-8 GUILE_AUTO_COMPILE=0 \
        GUILE_WARN_DEPRECATED=no GUILE_LOAD_PATH=/test/source SHELL=/bin/sh GUIX_TESTS_BUILD_TIMEOUT=60 \
        GUIX_BINARY_SUBSTITUTE_URL=file:///var/guix/substituter-data GUIX_ALLOW_UNAUTHENTICATED_SUBSTITUTES=yes \
        timeout "${BOOTSTRAP_GUIX_SUITES_SECONDS:-900}" \
        guix repl -- /test/suites.scm /test/source/tests/store.scm /test/source/tests/derivations.scm \
        >"$place/$1.all" 2>"$place/$1.err" || echo "$1: guix repl ended with $?"
    sed -n 's/^@ \(\(pass\|fail\|skip\) .*\)/\1/p' "$place/$1.all" >"$place/$1.out"
}

url=file:///var/guix/substituter-data
prepare guix
GUIX_ALLOW_UNAUTHENTICATED_SUBSTITUTES=yes chroot "$inside" guix-daemon --build-users-group=guixbuild \
    --substitute-urls="$url" >"$place/guix.log" 2>&1 &
echo $! >"$place/guix.pid"
test_with guix
prepare bootstrap
# Not chroot: in one, builds could make no namespaces.
# shellcheck disable=SC2016 # the shell inside expands it
unshare --mount sh -euc 'cd "$0"; pivot_root . old; umount -l /old; exec /usr/bin/bootstrap-under-test daemon "$@"' \
    "$inside" --substitute-urls="$url" >"$place/bootstrap.log" 2>&1 &
echo $! >"$place/bootstrap.pid"
test_with bootstrap

chroot "$place/mounts/guix/root" guix --version 2>/dev/null | head -n 1
for name in guix bootstrap; do
    echo "$name: $(grep -c '^pass' "$place/$name.out") passed, $(grep -c '^fail' "$place/$name.out") failed," \
        "$(grep -c '^skip' "$place/$name.out") skipped"
done
[ -z "${BOOTSTRAP_GUIX_SUITES_KEEP:-}" ] || cp "$place"/*.out "$place"/*.err "$place"/*.log "$BOOTSTRAP_GUIX_SUITES_KEEP"
sed -n 's/^pass //p' "$place/guix.out" | sort >"$place/expected"
sed -n 's/^pass //p' "$place/bootstrap.out" | sort >"$place/passed"
sed '/^#/d; /^$/d' "$here/suites.known" | sort >"$place/known"
comm -23 "$place/expected" "$place/passed" >"$place/lost"
comm -12 "$place/lost" "$place/known" | sed 's/^/fails, and suites.known says why: /'
comm -23 "$place/lost" "$place/known" | sed 's/^/fails with bootstrap daemon alone: /'
comm -13 "$place/lost" "$place/known" | sed 's/^/passes, though suites.known names it: /'
comm -13 "$place/expected" "$place/passed" | sed 's/^/fails with guix-daemon alone: /'
[ -s "$place/expected" ] || { tail -n 5 "$place/guix.err"; exit 1; }
[ -z "$(comm -23 "$place/lost" "$place/known")" ]
