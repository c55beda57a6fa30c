#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# The source archive of `make dist`: the same from any clone, and verify.sh notices every change.
#
#   tests/dist.sh     needs git, make and xz; archives the commit that is checked out
set -eu

cd "$(dirname "$0")/.."
here=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "tests/dist.sh: $*" >&2
    exit 1
}

# Two clones: other paths, umasks, time zones, users' settings, and times of files.
clone() {
    git -c safe.directory='*' clone -q "$here" "$1"
    git -C "$1" checkout -q "$(git -c safe.directory='*' rev-parse HEAD)"
}
clone "$work/one"
mkdir -p "$work/another/place"
(umask 077 && clone "$work/another/place/two")
find "$work/another/place/two" -name '*.rs' -exec touch -t 200101010101 {} +
cat >"$work/gitconfig" <<'END'
[tar]
	umask = 0077
[core]
	autocrlf = true
END
(cd "$work/one" && make dist) >"$work/said.one"
sleep 1
(
    umask 077
    cd "$work/another/place/two"
    TZ=Asia/Tokyo LC_ALL=C.UTF-8 GIT_CONFIG_GLOBAL=$work/gitconfig make dist
) >"$work/said.two"
archive=$(find "$work/one/target/dist" -name '*.tar.xz')
cmp "$archive" "$work/another/place/two/target/dist/${archive##*/}" || fail 'two clones gave different archives'
grep -q "^[0-9a-f]\{64\}  ${archive##*/}\$" "$work/said.one" || fail 'the hash of the archive was not printed'

name=${archive##*/}
name=${name%.tar.xz}
mkdir "$work/unpacked"
tar -xf "$archive" -C "$work/unpacked"
tree=$work/unpacked/$name
sh "$tree/verify.sh" >"$work/verified" || fail 'verify.sh failed on an unchanged archive'
files=$(git -c safe.directory='*' ls-tree -r --name-only HEAD | wc -l)
# All tracked files, and verify.sh.
grep -q "^$((files + 1)) files " "$work/verified" || fail "expected $((files + 1)) files: $(cat "$work/verified")"
[ -x "$tree/tools/prepare.sh" ] || fail 'programs lost their mode'

# fails WHAT PATTERN: verify.sh ends with 3 and says PATTERN.
fails() {
    status=0
    sh "$tree/verify.sh" >"$work/verified" 2>&1 || status=$?
    [ "$status" -eq 3 ] || fail "$1: expected status 3, saw $status"
    grep -q "$2" "$work/verified" || fail "$1: expected $2: $(cat "$work/verified")"
}

# One bit of one byte.
cp "$tree/Cargo.toml" "$work/kept"
sed 's/^\[package\]/[packagE]/' "$work/kept" >"$tree/Cargo.toml"
fails 'a changed file' 'Cargo.toml: expected SHA-256'
cp "$work/kept" "$tree/Cargo.toml"
rm "$tree/COPYING"
fails 'a missing file' 'COPYING: missing'
ln -s "$here/COPYING" "$tree/COPYING"
fails 'a link in place of a file' 'COPYING: missing, or not a regular file'
rm "$tree/COPYING"
cp "$here/COPYING" "$tree/COPYING"
: >"$tree/src/new file.rs"
fails 'an additional file' 'not in MANIFEST: src/new file.rs'
rm "$tree/src/new file.rs"
sed 's/^.\{64\}  Makefile$/'"$(printf '%064d' 0)"'  Makefile/' "$tree/MANIFEST" >"$work/manifest"
mv "$work/manifest" "$tree/MANIFEST"
fails 'a changed manifest' 'Makefile: expected SHA-256 0000'
tar -xf "$archive" -C "$work/unpacked"

# As on FreeBSD: sha256 and no sha256sum. What a build leaves is not in the way.
mkdir -p "$work/bin" "$tree/target"
: >"$tree/target/leftover"
for program in sh awk cut dirname find sed sort tr xargs; do
    ln -s "$(command -v "$program")" "$work/bin/$program"
done
cat >"$work/bin/sha256" <<END
#!/bin/sh
[ "\$1" = -r ] || exit 64
shift
"$(command -v sha256sum)" "\$@" | "$(command -v sed)" 's/  / /'
END
chmod 755 "$work/bin/sha256"
PATH=$work/bin sh "$tree/verify.sh" >/dev/null || fail 'verify.sh failed with sha256'
echo 'ok: make dist'
