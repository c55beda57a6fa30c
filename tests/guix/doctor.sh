#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# `bootstrap doctor --guix` with the unmodified Guix client.
#
# usage: sh tests/guix/doctor.sh [--root DIR] [PROGRAM]
#
# BOOTSTRAP_GUIX_ROOT is the Debian root with Guix (see daemon.sh). In an empty store the walk stops at the inputs.
# Where the store of --root, or of the machine, has the inputs and guile, it ends with the last boundary. Ends with 0
# where all is so, or where there is nothing to test with, and says so.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
place=/
if [ "${1:-}" = --root ]; then
  place=$2
  shift 2
fi
program=${1:-$here/../../target/debug/bootstrap}
program=$(cd "$(dirname "$program")" && pwd)/$(basename "$program")

# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
need_guix

scratch=$(mktemp -d)
daemon=
stop_daemon() {
  if [ -n "$daemon" ]; then
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
    daemon=
  fi
}
clean() {
  stop_daemon
  rm -rf "$scratch"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

# inside COMMAND...: runs it in the root with the store of $scratch, with $socket as the daemon's.
inside() {
  unshare --mount sh "$here/enter.sh" "$root" "$scratch" env GUIX_DAEMON_SOCKET="$socket" "$@"
}
# expect STATUS TEXT...: the walk ends with STATUS, and prints each TEXT.
expect() {
  wanted=$1
  shift
  status=0
  inside /scratch/bootstrap --progress plain doctor --guix >"$scratch/output" 2>&1 || status=$?
  for text in "$@"; do
    grep -q -- "$text" "$scratch/output" || status="$status, without \`$text'"
  done
  if [ "$status" != "$wanted" ]; then
    cat "$scratch/output" "$scratch/daemon.log"
    echo "FAIL: expected status $wanted, saw $status"
    exit 1
  fi
}
listening() {
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -S "$1" ] && return
    sleep 0.1
  done
  cat "$scratch/daemon.log"
  exit 1
}

mkdir -p "$scratch/gnu/store" "$scratch/var/guix" "$scratch/var/log/guix" "$scratch/etc/guix"
cp "$program" "$scratch/bootstrap"
: >"$scratch/daemon.log"

socket=/scratch/nowhere
expect 5 '^good *client: Guix 1\.' '^good *configuration: store /gnu/store' \
  '^BAD *store connection: no daemon listens at /scratch/nowhere' 'hint: start `bootstrap daemon`' 'boundary 3 of 8'
echo 'pass: without a daemon the walk stops at the store connection'

socket=/scratch/socket
# Not by `inside': a signal would end that shell, and not the daemon.
unshare --mount sh "$here/enter.sh" "$root" "$scratch" /scratch/bootstrap daemon --listen "$socket" 2>"$scratch/daemon.log" &
daemon=$!
listening "$scratch/socket"
expect 5 "^good *store connection: .*this program's daemon" '^good *derivation: /gnu/store/.*the same paths' \
  '^good *daemon: .*trusts this user' '^BAD *inputs: not in the store: tar, ' 'hint: run `bootstrap all`' 'boundary 6 of 8'
echo 'pass: with an empty store the walk stops at the inputs'
stop_daemon

rooted() {
  if [ "$place" = / ]; then "$program" "$@"; else "$program" --root "$place" "$@"; fi
}
# In place of the shell that runs it, so that a signal reaches it.
serve() {
  if [ "$place" = / ]; then exec "$program" "$@"; else exec "$program" --root "$place" "$@"; fi
}
if ! rooted path guile >/dev/null 2>&1; then
  echo "skipped: execution and module: guile is not in the store; \`bootstrap build guile' makes it"
  exit 0
fi
rooted export --guix "$scratch/bootstrap-inputs.scm"
# enter.sh binds what these name.
rm -rf "${scratch:?}/gnu" "${scratch:?}/var"
mkdir -p "$scratch/gnu" "$scratch/var/log"
ln -s "${place%/}/gnu/store" "$scratch/gnu/store"
ln -s "${place%/}/var/guix" "$scratch/var/guix"
ln -s "${place%/}/var/log/guix" "$scratch/var/log/guix"
rm -f "$scratch/socket"
serve daemon --listen "$scratch/socket" 2>"$scratch/daemon.log" &
daemon=$!
listening "$scratch/socket"
expect 0 '^good *inputs: 20 inputs and guile' '^good *execution: ' '^good *module: hello is /gnu/store/'
echo 'pass: with the inputs and guile the walk ends with the last boundary'
