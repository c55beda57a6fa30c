#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Guix's own packages, by their unmodified definitions, by an unmodified Guix client, built by our daemon on our inputs.
#
# usage: sh tests/guix/packages.sh [--root DIR] [--check] [--rounds=N] [--together=JOBS] PROGRAM [PACKAGE...]
#
# BOOTSTRAP_GUIX_ROOT is the Debian root with Guix (see daemon.sh). The inputs and Guile are those of the store of
# --root, or of the machine's own: `bootstrap all` and `bootstrap build guile` came before. Prints a line a package:
# name, seconds, result. Without PACKAGE, those of packages.list are built. Ends with 0 where all were built, or where
# there is nothing to test with, and says so. hello=FILE builds hello with that file as its source.
#
# --check        builds each once more, and compares
# --rounds=N     builds each N times where it is not valid yet, and compares
# --together=N   asks for all at once, N at a time; otherwise one after the other
set -eu

here=$(cd "$(dirname "$0")" && pwd)
place=/
options=
while :; do
  case ${1:-} in
    --root)
      place=${2:?--root DIR}
      shift
      ;;
    --check | --rounds=* | --together=*) options="$options $1" ;;
    *) break ;;
  esac
  shift
done
program=${1:?usage: packages.sh [--root DIR] [--check] [--rounds=N] [--together=JOBS] PROGRAM [PACKAGE...]}
program=$(cd "$(dirname "$program")" && pwd)/$(basename "$program")
shift
# shellcheck disable=SC2046 # names of packages have no spaces
[ $# -gt 0 ] || set -- $(sed 's/#.*//' "$here/packages.list")

# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
need_guix

scratch=$(mktemp -d)
daemon=
clean() {
  if [ -n "$daemon" ]; then
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
  fi
  rm -rf "$scratch"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

rooted() {
  if [ "$place" = / ]; then "$program" "$@"; else "$program" --root "$place" "$@"; fi
}
# In place of the shell that runs it, so that a signal reaches it.
serve() {
  if [ "$place" = / ]; then exec "$program" "$@"; else exec "$program" --root "$place" "$@"; fi
}

if ! rooted path guile >/dev/null 2>&1; then
  echo "skipped: guile is not in the store; \`bootstrap build guile' makes it"
  exit 0
fi
# enter.sh binds what these name.
mkdir -p "$scratch/gnu" "$scratch/var/log" "$scratch/etc/guix"
ln -s "${place%/}/gnu/store" "$scratch/gnu/store"
ln -s "${place%/}/var/guix" "$scratch/var/guix"
ln -s "${place%/}/var/log/guix" "$scratch/var/log/guix"

rooted export --guix "$scratch/bootstrap-inputs.scm"
cp "$here/packages.scm" "$scratch/"
# A socket of its own: the machine may have a daemon.
serve daemon --listen "$scratch/socket" 2>"$scratch/daemon.log" &
daemon=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  [ -S "$scratch/socket" ] && break
  sleep 0.1
done
if [ ! -S "$scratch/socket" ]; then
  cat "$scratch/daemon.log"
  exit 1
fi

inside() {
  unshare --mount sh "$here/enter.sh" "$root" "$scratch" env GUIX_DAEMON_SOCKET=/scratch/socket "$@"
}
echo "Guix $(inside guix --version | sed -n '1s/.* //p')"
# shellcheck disable=SC2086 # a list
inside guix repl -- /scratch/packages.scm $options "$@"
