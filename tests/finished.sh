#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Audits a finished bootstrap, with other programs than the tool itself where that is possible:
#
#   tests/finished.sh BOOTSTRAP [OPTION]...
#
# Needs `bootstrap all' to have ended in /gnu/store with the same global options (--seed, --seed-file); on Debian its
# nix-bin and sqlite3. FreeBSD's base has no program that knows stores: there the tool's own `verify' and `import' take
# Nix's place. Nothing is changed in the store.  Takes as long as hashing the store twice.
set -eu

program=$1
shift
options=$*
tool() {
    # shellcheck disable=SC2086 # words
    "$program" $options "$@"
}
scratch=$(mktemp -d)
case $(uname) in
FreeBSD) loader_name=ld-elf.so.1 nix='' ;;
*) loader_name=ld-linux-x86-64.so.2 nix=yes ;;
esac
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
failures=0

fail() {
    echo "tests/finished.sh: $*" >&2
    failures=$((failures + 1))
}

section() {
    printf '== %s\n' "$1"
}

# The packages of stages that are given as a pattern, one name a line. Of those after the final stage only what
# `bootstrap all' builds.
packages() {
    tool list | awk -v stages="$1" \
        '$3 ~ "^(" stages ")$" && ($3 != "package" || $1 ~ /^(hello|which)$/) { print $1 }'
}

outputs() {
    packages "$1" | while IFS= read -r package; do tool path "$package"; done
}

section 'every output is valid'
for package in $(packages '.*'); do
    tool path "$package" >/dev/null || fail "no valid $package"
done
[ "$failures" -eq 0 ] || exit 1

outputs 'final|package' >"$scratch/final"
outputs 'libc' >"$scratch/libc"
outputs 'stage0' >"$scratch/stage0"
for stage in final libc stage0; do
    [ -s "$scratch/$stage" ] || {
        fail "no output of the stage $stage: nothing would be checked"
        exit 1
    }
done
first() { tool path "$1" | head -n 1; }
readelf=$(first binutils)/bin/readelf
loaders=$(sed "s,\$,/lib/$loader_name," "$scratch/libc")

section 'a generation of roots keeps what was built'
tool roots --json | awk -F '"' '$2 == "path" { path = $4 } $2 == "generation" && $4 ~ /^all\// { print path }' >"$scratch/roots"
while IFS= read -r item; do
    grep -Fqx "$item" "$scratch/roots" || fail "no root keeps $item"
done <"$scratch/final"

section 'the proof runs, and without an environment'
greeting=$(env -i "$(first hello)/bin/hello")
[ "$greeting" = 'Hello, world!' ] || fail "hello said \`$greeting'"
found=$(env -i PATH="$(first hello)/bin" "$(first which)/bin/which" hello)
[ "$found" = "$(first hello)/bin/hello" ] || fail "which found \`$found'"

section 'in a sandbox of the inputs gcc knows OpenMP and LTO, and libc has a shell and a locale'
cat >"$scratch/program.sh" <<'END'
set -eu
cd /tmp
cat >square.c <<'C'
int square (int n) { return n * n; }
C
cat >main.c <<'C'
#include <iconv.h>
#include <langinfo.h>
#include <locale.h>
#include <omp.h>
#include <quadmath.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
extern int square (int);
int
main (void)
{
  int sum = 0;
  char line[40] = "";
  FILE *pipe = popen ("echo shell", "r");
#pragma omp parallel for reduction(+:sum) num_threads (4)
  for (int i = 1; i <= 4; i++)
    sum += square (i) * omp_get_num_threads ();
  if (pipe != NULL)
    fscanf (pipe, "%39s", line);
  setlocale (LC_ALL, "C.UTF-8");
  printf ("%d %s %d %s %d %d\n", sum, line, WEXITSTATUS (system ("exit 7")), nl_langinfo (CODESET),
          iconv_open ("UTF-16", "SHIFT_JIS") != (iconv_t) -1, (int) sqrtq (144));
  return 0;
}
C
gcc -O2 -flto -fopenmp -c square.c main.c
gcc -O2 -flto -fopenmp square.o main.o -lquadmath -o program
gcc-nm square.o | grep -q square
./program
END
printed=$(tool shell -- sh -c "$(cat "$scratch/program.sh")")
[ "$printed" = '120 shell 7 UTF-8 1 12' ] || fail "the program said \`$printed'"

section 'programs and libraries are of the store alone'
# A RUNPATH is one store path or several; $ORIGIN stays inside the item.
elf_files=0
xargs -I{} find {} -type f -size +3 <"$scratch/final" >"$scratch/files"
while IFS= read -r file; do
    [ "$(head -c 4 "$file" | tail -c 3)" = ELF ] || continue
    case $file in *.o | *.a) continue ;; esac
    elf_files=$((elf_files + 1))
    "$readelf" -W -d -l "$file" >"$scratch/elf"
    loader=$(sed -n 's/.*Requesting program interpreter: \(.*\)]$/\1/p' "$scratch/elf")
    if [ -n "$loader" ]; then
        echo "$loaders" | grep -qxF "$loader" || fail "$file: loader $loader"
    fi
    runpath=$(sed -n 's/.*(R[UN]*PATH).*\[\(.*\)\]$/\1/p' "$scratch/elf")
    for directory in $(echo "$runpath" | tr : ' '); do
        case $directory in
            /gnu/store/* | \$ORIGIN | \$ORIGIN/*) ;;
            *) fail "$file: RUNPATH $directory" ;;
        esac
    done
    sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p' "$scratch/elf" >"$scratch/needed"
    while IFS= read -r library; do
        seen=
        for directory in $(echo "$runpath" | tr : ' '); do
            case $directory in \$ORIGIN*) directory=${file%/*}${directory#\$ORIGIN} ;; esac
            [ ! -e "$directory/$library" ] || seen=yes
        done
        # The loader is loaded already when it is asked for.
        [ "$library" != "$loader_name" ] || seen=yes
        [ -n "$seen" ] || fail "$file: $library is in no directory of its RUNPATH $runpath"
    done <"$scratch/needed"
done <"$scratch/files"
echo "$elf_files programs and libraries"
[ "$elf_files" -gt 0 ] || fail 'no programs at all: nothing was checked'

section 'nothing of stage0 and of the seed is left in the final outputs'
# The hash part of a store path is what a reference is found by.
# A seed that is given as a file has a name of its own.
for seed in $(tool seed list | awk '{ print $1 }') $(tool seed show | sed -n 's/^name: //p'); do
    find /gnu/store -maxdepth 1 -name "*-$seed"
done >"$scratch/seed"
[ -s "$scratch/seed" ] || fail 'no seed is in the store: nothing was checked'
sed 's,^/gnu/store/\(.\{32\}\)-.*,\1,' "$scratch/stage0" "$scratch/seed" >"$scratch/hashes"
# A file with a reference shows that the search finds one: grep and xargs end alike where nothing is found and where
# they cannot search.
head -n 1 "$scratch/hashes" >"$scratch/control"
echo "$scratch/control" | cat - "$scratch/final" "$scratch/libc" |
    xargs grep -rlF -f "$scratch/hashes" -- >"$scratch/found" || true
grep -qxF "$scratch/control" "$scratch/found" || fail 'the search for references finds none that is there'
grep -vxF "$scratch/control" "$scratch/found" >"$scratch/hits" || true
while IFS= read -r file; do fail "$file: refers to stage0 or the seed"; done <"$scratch/hits"

# same_tree ITEM COPY
same_tree() {
    "$(first diffutils)/bin/diff" -r --no-dereference "$1" "$2" >/dev/null || fail "$1: restored with differences"
}

by_nix() {
    section 'Nix accepts every derivation, and finds every hash and size right'
    database=/var/guix/db/db.sqlite
    sqlite3 -readonly "$database" "
        SELECT p.path || char(10) || p.hash || char(10) || p.narSize || char(10)
            || coalesce(p.deriver, '') || char(10)
            || (SELECT count(*) FROM Refs WHERE referrer = p.id)
            || coalesce((SELECT group_concat(char(10) || r.path, '')
                FROM Refs JOIN ValidPaths r ON r.id = reference WHERE referrer = p.id), '')
        FROM ValidPaths p" >"$scratch/registrations"
    nix_store() {
        env -i HOME="$scratch" PATH="$PATH" NIX_STORE_DIR=/gnu/store NIX_STATE_DIR="$scratch/nix" \
            NIX_LOG_DIR="$scratch/nix/log" NIX_CONF_DIR="$scratch" NIX_REMOTE='' nix-store "$@"
    }
    # Loading a derivation checks the paths of its outputs against what it says.
    nix_store --load-db <"$scratch/registrations" || fail 'Nix refuses the registrations'
    nix_store --verify --check-contents >"$scratch/verify" 2>&1 || fail 'Nix finds damage'
    grep -v '^\(reading\|checking\)' "$scratch/verify" >&2 || true
    sqlite3 -readonly "$database" "SELECT path FROM ValidPaths WHERE path LIKE '%.drv'" >"$scratch/derivations"
    while IFS= read -r derivation; do
        nix_store -q --outputs "$derivation" >/dev/null || fail "Nix does not read $derivation"
    done <"$scratch/derivations"

    # Nix found that its archives have our hashes, so they are ours.
    section 'Nix restores every final output from its archive'
    while IFS= read -r item; do
        nix_store --dump "$item" | nix_store --restore "$scratch/restored"
        same_tree "$item" "$scratch/restored"
        chmod -R u+w "$scratch/restored"
        rm -rf "$scratch/restored"
    done <"$scratch/final"
}

by_tool() {
    section 'every hash and size is right, and every final output is restored from its archive'
    tool verify || fail 'verify finds damage'
    # With all they refer to: an item is valid only where those are.
    # shellcheck disable=SC2046 # store paths are words
    tool export $(cat "$scratch/final") |
        tool --root "$scratch/other" import --unsigned >"$scratch/imported" || fail 'import refuses the archives'
    while IFS= read -r item; do
        same_tree "$item" "$scratch/other$item"
    done <"$scratch/final"
}

if [ -n "$nix" ]; then by_nix; else by_tool; fi
if [ "$failures" -ne 0 ]; then
    echo "tests/finished.sh: $failures failures" >&2
    exit 1
fi
echo 'finished: everything holds'
