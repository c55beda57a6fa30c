#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Guix's own packages, by their unmodified definitions, by an unmodified Guix client, built by our daemon on our inputs.
#
# usage: sh tests/guix/packages.sh [--root DIR] [OPTION...] PROGRAM [PACKAGE...]
#
# BOOTSTRAP_GUIX_ROOT is the Debian root with Guix (see daemon.sh). The inputs and Guile are those of the store of
# --root, or of the machine's own: `bootstrap all` and `bootstrap build guile` came before. Prints a line a package:
# name, seconds, result. Without PACKAGE, those of packages.list are built. Ends with 0 where all were built but those
# of packages.known and those with a source that cannot be fetched, which the last line counts; or where there is
# nothing to test with, and says so. `hello=FILE' builds hello with that file as its source.
#
# --check        builds each once more, and compares
# --rounds=N     builds each N times where it is not valid yet, and compares
# --hashes       prints the outputs and their hashes, too
# --together=N   asks for all at once, N at a time; otherwise one after the other
set -eu

here=$(cd "$(dirname "$0")" && pwd)
store_root=/
options=
while :; do
  case ${1:-} in
    --root)
      store_root=${2:?--root DIR}
      shift
      ;;
    --check | --hashes | --rounds=* | --together=*) options="$options $1" ;;
    *) break ;;
  esac
  shift
done
program=${1:?usage: packages.sh [--root DIR] [OPTION...] PROGRAM [PACKAGE...]}
program=$(cd "$(dirname "$program")" && pwd)/$(basename "$program")
shift
# shellcheck disable=SC2046 # names of packages have no spaces
[ $# -gt 0 ] || set -- $(sed 's/#.*//' "$here/packages.list")

# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
need_guix
# shellcheck disable=SC2119 # without options of the program
need_guile
# shellcheck disable=SC2119
serve_inputs
cp "$here/packages.scm" "$here/foreign.scm" "$scratch/"
known=$(sed 's/#.*//' "$here/packages.known" | tr '\n' ' ')
mkdir "$scratch/files"
for name; do
  shift
  case $name in
    *=*)
      # The client sees no other directory; Guix takes the version from the file's name.
      file=${name#*=}
      seen=/scratch/files/$(basename "$file" | sed 's/^[0-9a-z]\{32\}-//')
      cp "$file" "$scratch/files/${seen##*/}"
      name=${name%%=*}=$seen
      ;;
  esac
  set -- "$@" "$name"
done
echo "Guix $(inside guix --version | sed -n '1s/.* //p')"
# shellcheck disable=SC2086 # a list
inside guix repl -- /scratch/packages.scm $options --known="$known" "$@"
