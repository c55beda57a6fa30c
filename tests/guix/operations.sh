#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# What users do with the Guix client beyond `guix build', each once, by our daemon on our inputs: grafts, --target,
# --system, --with-input, --with-source, --with-patch, `guix shell', `guix pack', `guix package -i'.
#
# usage: sh tests/guix/operations.sh [--root DIR] PROGRAM [OPTION...]
#
# BOOTSTRAP_GUIX_ROOT is the Debian root with Guix (see daemon.sh). The inputs and Guile are those of the store of
# --root, or of the machine's own: `bootstrap all` and `bootstrap build guile` came before. The OPTIONs are global ones
# of PROGRAM, such as `--recipes DIR'. The packages are those of operations.scm, whose sources are made here. Prints a
# line for each operation. Ends with 0 where each did what it should, or where there is nothing to test with, and says
# so.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=SCRIPTDIR/arguments.sh
. "$here/arguments.sh"
# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
need_guix
need_guile "$@"
serve_inputs "$@"
mkdir "$scratch/sources"

# pack NAME VERSION: makes an archive of the files in sources/NAME-VERSION.
pack() {
  printf '#!/bin/sh\nfor argument; do case $argument in --prefix=*) echo "prefix = ${argument#*=}" >config.mk ;; esac; done\n' \
    >"$scratch/sources/$1-$2/configure"
  chmod 755 "$scratch/sources/$1-$2/configure"
  tar -C "$scratch/sources" -czf "$scratch/$1-$2.tar.gz" "$1-$2"
}
# library NAME VERSION WORD: the sources of a library whose function greeting gives WORD.
library() {
  mkdir "$scratch/sources/$1-$2"
  printf 'const char *greeting(void);\nconst char *greeting(void) { return "%s"; }\n' "$3" >"$scratch/sources/$1-$2/greeting.c"
  cat >"$scratch/sources/$1-$2/Makefile" <<'MAKEFILE'
include config.mk
libgreeting.so: greeting.c
	gcc -shared -fPIC -Wl,-soname,libgreeting.so -o $@ greeting.c
check: libgreeting.so
	test -s libgreeting.so
install: libgreeting.so
	mkdir -p $(prefix)/lib
	cp libgreeting.so $(prefix)/lib/
MAKEFILE
  pack "$1" "$2"
}
# user NAME: the sources of a program NAME that prints what the library greets with.
user() {
  mkdir "$scratch/sources/$1-1.0"
  printf '#include <stdio.h>\nconst char *greeting(void);\nint main(void) { return puts(greeting()) < 0; }\n' \
    >"$scratch/sources/$1-1.0/main.c"
  sed "s/NAME/$1/g" >"$scratch/sources/$1-1.0/Makefile" <<'MAKEFILE'
include config.mk
NAME: main.c
	gcc -o $@ main.c -lgreeting
check: NAME
	./NAME
install: NAME
	mkdir -p $(prefix)/bin
	cp NAME $(prefix)/bin/
MAKEFILE
  pack "$1" 1.0
}
library libgreet 1.0 good-day
library libgreet 2.0 good-evening
library libhail 1.0 hail
library libmoo 1.0 moo
library libmoo 1.1 fixed-moo
user greet
user moo
printf -- '--- a/greeting.c\n+++ b/greeting.c\n@@ -1,2 +1,2 @@\n const char *greeting(void);\n-const char *greeting(void) { return "good-day"; }\n+const char *greeting(void) { return "patched-day"; }\n' \
  >"$scratch/greeting.patch"

cp "$here/operations.scm" "$scratch/channel/"
variables=GUIX_PACKAGE_PATH=/scratch/channel
failed=0
# check NAME COMMAND...: prints whether the command succeeds.
check() {
  name=$1
  shift
  if "$@" >"$scratch/out" 2>"$scratch/err"; then
    echo "pass: $name"
  else
    failed=$((failed + 1))
    echo "FAIL: $name"
    tail -n 30 "$scratch/out" "$scratch/err" | sed 's/^/    /'
  fi
}
# says WORD PROGRAM OPTION...: what `guix build PROGRAM OPTION...' makes prints WORD.
says() {
  word=$1
  binary=$2
  shift
  made=$(inside guix build "$@") && echo "$made" && said=$(inside "$made/bin/$binary") && echo "$said" && [ "$said" = "$word" ]
}
# refers PATH NAME: the item PATH refers to an item with NAME in its name.
refers() {
  inside guix gc --references "$1" >"$scratch/references" && [ -s "$scratch/references" ] || return 2
  grep -q -- "-$2\$" "$scratch/references"
}
# foreign FILE: the derivations listed in FILE need items of Guix's own bootstrap. Ends with 1 where they do not, with 2
# where that cannot be found out.
foreign() {
  # shellcheck disable=SC2046 # a path has no spaces
  inside guix gc --requisites $(cat "$1") >"$scratch/requisites" && [ -s "$scratch/requisites" ] || return 2
  grep -E -- '-(mes-boot|bootstrap-|static-binaries-|guile-bootstrap|gcc-boot|make-boot|glibc-intermediate)' "$scratch/requisites"
}

echo "Guix $(inside guix --version | sed -n '1s/.* //p')"
check 'guix build' says good-day greet

grafted() {
  says fixed-moo moo || return 1
  refers "$made" libmoo-1.1 || return 1
  answer=0
  refers "$made" libmoo-1.0 || answer=$?
  [ "$answer" = 1 ] || return 1
  says moo moo --no-grafts || return 1
  refers "$made" libmoo-1.0
}
check 'a graft: the result refers to the replacement' grafted
check '--with-input' says hail greet --with-input=libgreet=libhail
check '--with-source' says good-evening greet --with-source=libgreet=/scratch/libgreet-2.0.tar.gz
check '--with-patch' says patched-day greet --with-patch=libgreet=/scratch/greeting.patch

check '--system of the inputs' says good-day greet --system=x86_64-linux
# No inputs are here for another system or a cross compiler: Guix's own bootstrap is where these start.
other_system() {
  inside guix build -d greet --system=i686-linux >"$scratch/drv" && foreign "$scratch/drv"
}
check '--system of another: lowered, on Guix'"'"'s own bootstrap' other_system
cross() {
  inside guix build -d greet --target=aarch64-linux-gnu >"$scratch/drv" || return 1
  answer=0
  foreign "$scratch/drv" || answer=$?
  [ "$answer" = 1 ]
}
check '--target: lowered, with a cross compiler that the inputs build' cross

shell() {
  inside guix shell -D hello -- make --version | tee "$scratch/shell" && grep -q '^GNU Make' "$scratch/shell"
}
check 'guix shell -D hello -- make --version' shell
toolchain() {
  printf '#include <stdio.h>\nint main(void) { return puts("compiled") < 0; }\n' >"$scratch/word.c"
  inside guix shell gcc-toolchain@14 -- gcc -o /scratch/word /scratch/word.c && [ "$(inside /scratch/word)" = compiled ]
}
check 'guix shell gcc-toolchain -- gcc' toolchain
with_manifest() {
  printf '(specifications->manifest (list "greet"))\n' >"$scratch/manifest.scm"
  [ "$(inside guix shell -m /scratch/manifest.scm -- greet)" = good-day ]
}
check 'guix shell -m MANIFEST' with_manifest
packed() {
  made=$(inside guix pack -S /bin=bin greet) && echo "$made" && cp "${store_root%/}$made" "$scratch/pack.tar.gz" &&
    tar -tzf "$scratch/pack.tar.gz" >"$scratch/list" && grep -q -- '-greet-1.0/bin/greet$' "$scratch/list" &&
    grep -q -- '-libgreet-1.0/lib/libgreeting.so$' "$scratch/list"
}
check 'guix pack' packed
installed() {
  inside guix package -p /scratch/profile -i greet && [ "$(inside /scratch/profile/bin/greet)" = good-day ] &&
    inside guix package -p /scratch/profile -I | grep '^greet'
}
check 'guix package -p PROFILE -i' installed

[ "$failed" = 0 ] || exit 1
echo 'all operations did what they should'
