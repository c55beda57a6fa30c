#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Substitutes between Guix and this program: what `bootstrap publish' writes, for guix-daemon, for `bootstrap daemon',
# for `guix challenge' and `guix weather'; and what `guix publish' serves, for `bootstrap daemon'.
#
#   BOOTSTRAP_GUIX_ROOT=DIR tests/guix/substitutes.sh [BOOTSTRAP]
#
# DIR is a root with Guix, which is not changed. Needs root and a C compiler. Prints a line a check. Ends with 0 where
# each passed, or where there is nothing to test with, and says so.
#
# shellcheck disable=SC2317 # `check' calls functions by name
set -eu

program=$(realpath "${1:-target/debug/bootstrap}")
here=$(dirname "$(realpath "$0")")
# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
need_guix
own_mounts sh "$0" "$@"
serve_site
stop_all() {
    pid=$(tree_of guix)/publish.pid
    [ ! -f "$pid" ] || kill "$(cat "$pid")" 2>/dev/null || true
    stop
}
trap stop_all EXIT
make_builder
# shellcheck disable=SC2034 # common.sh reads it
substitutes=

# says TEXT: the output of the check before has it.
says() { grep -q -e "$1" "$place/last"; }
# refused STATUS TEXT COMMAND...: the command ends with STATUS, and prints TEXT.
refused() {
    wanted=$1 expected=$2
    shift 2
    status=0
    "$@" >"$place/refusal" 2>&1 || status=$?
    cat "$place/refusal"
    [ "$status" = "$wanted" ] && grep -q -e "$expected" "$place/refusal"
}

# trusts_nobody: the root that was made has no access control list, whatever the root that it shows has.
trusts_nobody() {
    mkdir -p "$inside/etc/guix"
    rm -f "$inside/etc/guix/acl"
}
make_root guix
trusts_nobody
start_guix
make_root bootstrap
trusts_nobody
start_bootstrap
await guix
await bootstrap
client guix guix --version 2>/dev/null | head -n 1

# derivation ROOT NAME TEXT: adds a derivation, and prints its path.
derivation() { client "$1" guix repl -- /test/derivation.scm "$2" "$3"; }
# built ROOT NAME TEXT: builds it, and prints its output.
built() { client "$1" guix build --no-substitutes "$(derivation "$@")" 2>/dev/null; }
# removed ROOT ITEM
removed() { client "$1" guix gc --delete "$2" && [ ! -e "$place/mounts/$1/root$2" ]; }
# fetched ROOT SERVER NAME TEXT: what that derivation makes comes from the server: without jobs, nothing is built.
fetched() {
    taker=$1 urls=$2
    shift 2
    client "$taker" guix build --max-jobs=0 --substitute-urls="$urls" "$(derivation "$taker" "$@")"
}
content() { [ "$(cat "$place/mounts/$1/root$2")" = "$3" ]; }

text=$(built bootstrap text 'a word')
chance=$(built bootstrap chance chance)
"$program" key test "$place/key" >/dev/null
check 'bootstrap publish, of items that a client had built' "$program" --root "$place/mounts/bootstrap/root" publish \
    --key "$place/key" "$place/site/ours" "$text" "$chance"
check 'bootstrap publish, of an item that is not there' refused 2 'is not valid' "$program" \
    --root "$place/mounts/bootstrap/root" publish "$place/site/none" "/gnu/store/00000000000000000000000000000000-none"
ours=http://127.0.0.1:$port/ours

for name in guix bootstrap; do
    case $name in
        guix) untrusting='ACL for archive imports seems to be uninitialized' ;;
        bootstrap) untrusting='no substitute is taken: /etc/guix/acl has no key' ;;
    esac
    check "$name built the same" test "$(built "$name" text 'a word')" = "$text"
    check "guix challenge on $name: the same bytes" client "$name" guix challenge --substitute-urls="$ours" "$text"
    check "it compared them" says '1 (100.0%) were identical'
    [ "$name" = guix ] || check 'delete, to build again' removed "$name" "$chance"
    check "$name built it once more" test "$(built "$name" chance chance)" = "$chance"
    check "guix challenge on $name: other bytes" refused 2 'contents differ' \
        client "$name" guix challenge --substitute-urls="$ours" "$chance"
    check "guix weather on $name" refused 1 '0.0% substitutes available (0 out of 1)' client "$name" guix weather --substitute-urls="$ours" \
        -e '(begin
              (use-modules (guix packages) (guix gexp) (guix build-system trivial) (gnu packages bootstrap))
              (package (name "absent") (version "1") (source #f) (build-system trivial-build-system)
                       (arguments (list #:guile %bootstrap-guile #:builder (gexp (mkdir (ungexp output)))))
                       (home-page #f) (synopsis #f) (description #f) (license #f)))'
    check "delete from $name" removed "$name" "$text"
    check "$name takes nothing where it trusts no key" refused 1 "$untrusting" fetched "$name" "$ours" text 'a word'
    check "guix archive --authorize on $name" client "$name" guix archive --authorize <"$place/site/ours/signing-key.pub"
    check "$name takes our substitute" fetched "$name" "$ours" text 'a word'
    check "it is the same" content "$name" "$text" 'made of a word'
done

# The other way.
client guix guix archive --generate-key='(genkey (ecdsa (curve Ed25519) (flags rfc6979)))' 2>/dev/null
theirs=$(built guix theirs 'another word')
free=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# shellcheck disable=SC2016 # the shell inside expands it
client guix sh -c 'echo $$ >/publish.pid; exec guix publish --listen=127.0.0.1 --port="$0"' "$free" >"$place/publish.log" 2>&1 &
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    ! grep -q '^publishing ' "$place/publish.log" || break
    sleep 1
done
published=http://127.0.0.1:$free
check 'bootstrap takes nothing of guix publish whose key it does not trust' \
    refused 1 'has no signature by a key that is trusted' fetched bootstrap "$published" theirs 'another word'
check 'guix archive --authorize of its key' client bootstrap guix archive --authorize <"$(tree_of guix)/etc/guix/signing-key.pub"
check 'bootstrap takes a substitute of guix publish' fetched bootstrap "$published" theirs 'another word'
check 'it is the same' content bootstrap "$theirs" 'made of another word'
[ -z "${VERBOSE:-}" ] || cat "$place"/*.log
exit "$failed"
