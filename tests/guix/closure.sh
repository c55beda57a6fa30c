#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# With the module of `bootstrap export --guix', an unmodified Guix client builds nothing of Guix's own bootstrap.
#
# usage: sh tests/guix/closure.sh [--root DIR] PROGRAM [OPTION...]
#
# Takes the closures of packages, of a profile and of `guix shell -D', for Linux and for FreeBSD, and looks in them for
# derivations and sources that are neither the bootstrap's nor the packages' own; builds nothing. Then has Guix say what
# it would build. The rest is as with operations.sh.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=SCRIPTDIR/arguments.sh
. "$here/arguments.sh"
# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
need_guix
need_guile "$@"
serve_inputs "$@"
cp "$here/closure.scm" "$here/foreign.scm" "$scratch/"
echo "Guix $(inside guix --version | sed -n '1s/.* //p')"
inside guix repl -- /scratch/closure.scm /scratch/channel x86_64-linux
# For FreeBSD, with its inputs, Guix makes derivations on any system.
mkdir "$scratch/freebsd"
rooted "$@" --seed freebsd-15.1-amd64 export --guix "$scratch/freebsd/bootstrap-inputs.scm"
inside guix repl -- /scratch/closure.scm /scratch/freebsd x86_64-freebsd
for command in build pack; do
    inside guix "$command" -L /scratch/freebsd --system=x86_64-freebsd -d hello >"$scratch/out" 2>"$scratch/errors"
    if [ -s "$scratch/errors" ] || ! grep -q '^/gnu/store/.*-hello-.*\.drv$' "$scratch/out"; then
        echo "FAIL: guix $command --system=x86_64-freebsd -d hello"
        cat "$scratch/out" "$scratch/errors"
        exit 1
    fi
    echo "pass: guix $command --system=x86_64-freebsd -d hello"
done

# would_build NAMES COMMAND...: of the derivations that the command says it would build, each has one of the NAMES, a
# pattern.
would_build() {
  names=$1
  shift
  if ! inside "$@" >"$scratch/out" 2>&1; then
    echo "FAIL: $*"
    cat "$scratch/out"
    exit 1
  fi
  sed -n 's|^ */gnu/store/[^-]*-\(.*\)\.drv$|\1|p' "$scratch/out" >"$scratch/names"
  if grep -vE "^($names)\$" "$scratch/names" >"$scratch/others"; then
    echo "FAIL: $* would build:"
    cat "$scratch/others"
    exit 1
  fi
  echo "pass: $*: would build $(wc -l <"$scratch/names") derivations"
}
would_build 'hello-.*|module-import-compiled' \
  guix build -L /scratch/channel hello --dry-run
would_build 'hello-.*|module-import-compiled' \
  guix build -L /scratch/channel -e '(begin (use-modules (bootstrap-inputs)) (@ (gnu packages base) hello))' --dry-run
would_build 'profile|ca-certificate-bundle|emacs-subdirs|module-import-compiled' \
  guix shell -L /scratch/channel -D hello --dry-run
# The module changes nothing for another system.
for_another() {
  inside guix build "$@" --system=i686-linux -d hello gcc-toolchain@14 guile bash-minimal
}
for_another >"$scratch/without"
for_another -L /scratch/channel >"$scratch/with"
if ! cmp "$scratch/without" "$scratch/with"; then
  echo 'FAIL: the module changes derivations for i686-linux'
  exit 1
fi
echo 'pass: the same derivations for i686-linux without the module'
echo 'nothing of Guix'"'"'s own bootstrap'
