#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Writes the source archive target/dist/bootstrap-VERSION.tar.xz from the commit that is checked out.
#
# The archive depends on the commit alone, not on place, umask, time zone or configuration: two clones give the same
# bytes (with the same release of xz; the hash of the tar inside is printed as well). It holds MANIFEST, the SHA-256 of
# every file, and verify.sh, which checks them.
set -eu

cd "$(dirname "$0")/.."
here=$PWD
umask 022
LC_ALL=C
export LC_ALL

fail() {
    echo "tools/dist.sh: $*" >&2
    exit 1
}

# Git's settings of the user and the machine have no say.
git() {
    GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 command git -c safe.directory="$here" -c tar.umask=0022 \
        -c core.autocrlf=false -c core.attributesFile=/dev/null "$@"
}

# hash_of FILE: its SHA-256 in base 16.
hash_of() {
    if command -v sha256sum >/dev/null 2>&1; then
        sha256sum <"$1" | cut -d ' ' -f 1
    else
        command sha256 -q "$1"
    fi
}

# The SHA-256 of the files that standard input names, a line each: in base 16, two spaces, the name.
hashes() {
    if command -v sha256sum >/dev/null 2>&1; then
        tr '\n' '\0' | xargs -0 sha256sum
    else
        tr '\n' '\0' | xargs -0 sha256 -r | sed 's/ /  /'
    fi
}

for program in git xz tar; do
    command -v "$program" >/dev/null 2>&1 || fail "$program is missing"
done
git rev-parse --verify -q 'HEAD^{commit}' >/dev/null || fail "$here is not a clone: no commit is checked out"
[ -z "$(git status --porcelain --untracked-files=no)" ] ||
    echo 'tools/dist.sh: uncommitted changes are not in the archive' >&2

version=$(git show HEAD:Cargo.toml | sed -n 's/^version = "\(.*\)"$/\1/p' | head -n 1)
[ -n "$version" ] || fail 'Cargo.toml names no version'
name=bootstrap-$version
out=$here/target/dist
rm -rf "$out/tree" "$out/added"
mkdir -p "$out/tree" "$out/added"

# Links have no hash of their own, and odd names would break the manifest's lines.
git ls-tree -r HEAD | awk '$1 != "100644" && $1 != "100755"' | grep . >&2 && fail 'only regular files can be in the archive'
git ls-tree -r --name-only HEAD | grep -v '^[A-Za-z0-9._/+@-]*$' >&2 && fail 'these names cannot be in a manifest'

git archive --format=tar HEAD | tar -xf - -C "$out/tree"
cp tools/verify-dist.sh "$out/added/verify.sh"
chmod 755 "$out/added/verify.sh"
cp "$out/added/verify.sh" "$out/tree/verify.sh"
(cd "$out/tree" && find . -type f | sed 's|^\./||' | sort | hashes) >"$out/added/MANIFEST"

# Files that are added get the commit's time, as all others.
git archive --format=tar --prefix="$name/" --add-file="$out/added/MANIFEST" --add-file="$out/added/verify.sh" \
    -o "$out/$name.tar" HEAD
tar_hash=$(hash_of "$out/$name.tar")
# One thread: the blocks that several make differ.
xz -6 -T 1 -f "$out/$name.tar"
rm -rf "$out/tree" "$out/added"
printf '%s  %s\n' "$tar_hash" "$name.tar" "$(hash_of "$out/$name.tar.xz")" "$name.tar.xz"
