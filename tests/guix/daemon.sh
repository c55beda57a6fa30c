#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# The unmodified Guix client against our daemon.
#
# usage: sh tests/guix/daemon.sh [PROGRAM]
#
# BOOTSTRAP_GUIX_ROOT names the root of a Debian system with the package `guix` (1.5.0, from sid), such as
# `debootstrap --variant=minbase --include=guix,guile-3.0 sid DIR` makes. It is only read. PROGRAM is the `bootstrap` to
# test. Ends with 0 where every check passed, or where there is no such root, and says so.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
program=${1:-$here/../../target/debug/bootstrap}
program=$(cd "$(dirname "$program")" && pwd)/$(basename "$program")

# shellcheck source=SCRIPTDIR/common.sh
. "$here/common.sh"
need_guix

scratch=$(mktemp -d)
daemon=
server=
clean() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
  fi
  if [ -n "$daemon" ]; then
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
  fi
  rm -rf "$scratch"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

mkdir -p "$scratch/gnu/store" "$scratch/var/guix" "$scratch/var/log/guix" "$scratch/etc/guix"
cp "$program" "$scratch/bootstrap"

# A builder that needs nothing beside itself.
cat >"$scratch/builder.c" <<'BUILDER'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **arguments)
{
  const char *what = count > 1 ? arguments[1] : "";
  FILE *out;

  puts("hello from the builder");
  fflush(stdout);
  if (strcmp(what, "fail") == 0) {
    fputs("failing\n", stderr);
    return 3;
  }
  if (strcmp(what, "sleep") == 0)
    sleep(30);
  out = fopen(getenv("out"), "w");
  if (out == NULL)
    return 4;
  fprintf(out, "made %s\n", what);
  if (strcmp(what, "random") == 0) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    fprintf(out, "%ld.%09ld\n", (long) now.tv_sec, now.tv_nsec);
  }
  return fclose(out) == 0 ? 0 : 5;
}
BUILDER
cc -static -O1 -o "$scratch/builder" "$scratch/builder.c"
cp "$here/client.scm" "$scratch/client.scm"

guix() {
  unshare --mount sh "$here/enter.sh" "$root" "$scratch" guix "$@"
}

serve() {
  unshare --mount sh "$here/enter.sh" "$root" "$scratch" /scratch/bootstrap daemon 2>>"$scratch/daemon.log" &
  daemon=$!
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -S "$scratch/var/guix/daemon-socket/socket" ] && return
    sleep 0.1
  done
  cat "$scratch/daemon.log"
  exit 1
}

passed=0
failed=0
check() {
  name=$1
  shift
  if "$@" >"$scratch/output" 2>&1; then
    passed=$((passed + 1))
    echo "pass: $name"
  else
    failed=$((failed + 1))
    echo "FAIL: $name"
    sed 's/^/    /' "$scratch/output" | tail -n 20
  fi
}
fails_with() {
  expected=$1
  shift
  if "$@" >"$scratch/inner" 2>&1; then
    echo "it succeeded"
    return 1
  fi
  cat "$scratch/inner"
  grep -q "$expected" "$scratch/inner"
}

echo "Guix $(guix --version | sed -n '1s/.* //p')"
serve
# Every line of client.scm is a check of its own.
if guix repl /scratch/client.scm >"$scratch/client.log" 2>&1; then
  check "client.scm" true
else
  failed=$((failed + 1))
  echo "FAIL: client.scm"
fi
grep -E '^(pass|FAIL): ' "$scratch/client.log" || true
grep -E '^[0-9]+ passed, ' "$scratch/client.log" || tail -n 20 "$scratch/client.log"

text=$(grep -l -x content "$scratch"/gnu/store/*-text | head -n 1)
text=/gnu/store/${text##*/}
expression='(begin (use-modules (guix)) (with-store store (let ((b (add-to-store store "builder" #t "sha256" "/scratch/builder"))) (derivation store "from-shell" b (list "shell") #:sources (list b)))))'

check "guix gc --list-live" guix gc --list-live
check "guix gc --list-dead" guix gc --list-dead
check "guix gc --references" guix gc --references "$text"
check "guix gc --referrers" guix gc --referrers "$text"
check "guix gc --requisites" guix gc --requisites "$text"
check "guix gc --verify=contents" guix gc --verify=contents
check "guix build -e" guix build -e "$expression"
check "guix build -e, again" guix build -e "$expression"
check "guix build --check" guix build --check -e "$expression"
built=$(guix build -e "$expression" 2>/dev/null)
damage() {
  chmod 644 "$scratch$built"
  echo changed >"$scratch$built"
}
is_repaired() {
  test "$(cat "$scratch$built")" = "made shell"
}
damage
check "guix build --repair" guix build --repair -e "$expression"
check "it is repaired" is_repaired
damage
sees_damage() {
  guix gc --verify=contents >"$scratch/verified" 2>&1 || true
  cat "$scratch/verified"
  grep -q "was modified" "$scratch/verified"
}
check "guix gc --verify=contents sees damage" sees_damage
check "guix gc --verify=contents,repair" guix gc --verify=contents,repair
check "it is repaired again" is_repaired
rm -f "$scratch$built"
check "guix gc --verify=repair" guix gc --verify=repair
check "it is back" is_repaired
check "guix build --log-file" guix build --log-file -e "$expression"

check "guix archive --export without a key" fails_with "cannot sign" guix archive --export "$text"
check "guix archive --generate-key" guix archive --generate-key="(genkey (ecdsa (curve Ed25519) (flags rfc6979)))"
export_text() {
  guix archive --export "$text" >"$scratch/archive"
}
check "guix archive --export" export_text
check "guix gc --delete" guix gc --delete "$(guix gc --referrers "$text")" "$text"
check "it is gone" test ! -e "$scratch$text"
import() {
  guix archive --import <"$scratch/archive"
}
check "guix archive --import of a key that is not trusted" fails_with "no signature by a key" import
check "it is still gone" test ! -e "$scratch$text"
authorize() {
  guix archive --authorize <"$scratch/etc/guix/signing-key.pub"
}
check "guix archive --authorize" authorize
check "guix archive --import" import
check "it is back" test -e "$scratch$text"
check "guix gc" guix gc
check "guix gc --verify" guix gc --verify

# Commits. This daemon runs outside of the root, which has no git.
if ! command -v git >/dev/null; then
  echo "skipped: builds of commits need git"
else
  kill "$daemon"
  wait "$daemon" 2>/dev/null || true
  rm -f "$scratch/var/guix/daemon-socket/socket"
  BOOTSTRAP_CONFIG='' "$program" --root "$scratch" daemon 2>>"$scratch/daemon.log" &
  daemon=$!
  mkdir "$scratch/site"
  (
    export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
    git -c init.defaultBranch=main init -q "$scratch/work"
    cd "$scratch/work"
    mkdir directory
    echo one >directory/file
    echo 'exit 0' >program
    chmod 755 program
    ln -s directory/file link
    git add -A
    git -c user.name=x -c user.email=x@example.org commit -q -m one
    git tag v1
    echo two >directory/file
    git -c user.name=x -c user.email=x@example.org commit -q -a -m two
    git clone -q --bare . "$scratch/site/repo.git"
    cd "$scratch/site/repo.git"
    git update-server-info
    cd "$scratch/work"
    git checkout -q v1
  )
  one=$(git -C "$scratch/work" rev-parse v1)
  python3 "$here/git_server.py" "$scratch/site" "$scratch/port" >"$scratch/server.log" 2>&1 &
  server=$!
  until [ -s "$scratch/port" ] && [ -S "$scratch/var/guix/daemon-socket/socket" ]; do
    kill -0 "$server"
    kill -0 "$daemon" || { cat "$scratch/daemon.log"; exit 1; }
    sleep 0.1
  done
  site=http://127.0.0.1:$(cat "$scratch/port")
  hash=$(guix hash -rx /scratch/work)
  # commit NAME URL COMMIT HASH: builds it. The client refers to no git of its own, since the daemon has the builtin.
  commit() {
    guix build -e "(begin (use-modules (guix packages) (guix git-download)) (origin (method git-fetch) (uri (git-reference (url \"$2\") (commit \"$3\"))) (file-name \"$1\") (sha256 (base32 \"$4\"))))"
  }
  has_hash() {
    commit "$@" >"$scratch/path" || return 1
    cat "$scratch/path"
    made=$(cat "$scratch/path")
    test "$(guix hash -r "$made")" = "$4" && test ! -e "$scratch$made/.git" &&
      test "$(readlink "$scratch$made/link")" = directory/file && test -x "$scratch$made/program"
  }
  other=0000000000000000000000000000000000000000000000000000
  absent=0123456789012345678901234567890123456789
  is_absent() {
    test -z "$(find "$scratch/gnu/store" -maxdepth 1 -name "*-$1")"
  }
  check "a commit, of a server of files" has_hash commit-of-files "$site/repo.git" "$one" "$hash"
  check "a tag, of a server of files" has_hash tag-of-files "$site/repo.git" v1 "$hash"
  check "a commit, of a server of git" has_hash commit-of-git "$site/smart/repo.git" "$one" "$hash"
  check "a tag, of a server of git" has_hash tag-of-git "$site/smart/repo.git" v1 "$hash"
  for way in repo.git smart/repo.git; do
    check "a commit of another hash, $way" fails_with "expected hash: $other" commit wrong "$site/$way" "$one" "$other"
    check "Guix gives its actual hash, $way" grep -q "actual hash: *$hash" "$scratch/inner"
    check "a commit that is not there, $way" fails_with "build of .*missing.drv' failed" commit missing "$site/$way" "$absent" "$hash"
    check "a repository that is not there, $way" fails_with "build of .*nowhere.drv' failed" commit nowhere "$site/none/$way" "$one" "$hash"
  done
  # A download of another hash: the client makes its message of the trace, as for builds.
  echo download >"$scratch/site/file"
  download() {
    guix build -e "(begin (use-modules (guix packages) (guix download)) (origin (method url-fetch) (uri \"$site/file\") (file-name \"$1\") (sha256 (base32 \"$2\"))))"
  }
  check "a download of another hash" fails_with "expected hash: $other" download wrong-download "$other"
  check "Guix gives its actual hash" grep -q "actual hash: *$(guix hash /scratch/site/file)" "$scratch/inner"
  check "nothing of these is in the store" eval 'is_absent wrong && is_absent wrong-download && is_absent missing && is_absent nowhere'
fi

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
