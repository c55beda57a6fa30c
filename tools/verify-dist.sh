#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Checks an unpacked source archive: every file has the SHA-256 that MANIFEST gives, and none is missing or additional.
# `make dist` puts it into the archive as verify.sh. What a build leaves, target/, is not looked at.
#
#   sh verify.sh     status 0 if all is well, 3 if hashes or files differ
#
# Needs sha256sum (Linux) or sha256 (FreeBSD). MANIFEST itself is what to compare with a trusted copy: its hash is
# printed.
set -eu

cd "$(dirname "$0")"
LC_ALL=C
export LC_ALL

if command -v sha256sum >/dev/null 2>&1; then
    hash_of() { sha256sum <"$1" | cut -d ' ' -f 1; }
elif command -v sha256 >/dev/null 2>&1; then
    hash_of() { sha256 -q "$1"; }
else
    echo 'verify.sh: neither sha256sum nor sha256 is on PATH' >&2
    exit 5
fi
[ -f MANIFEST ] || {
    echo "verify.sh: MANIFEST is missing: expected it in $PWD" >&2
    exit 3
}

bad=0
count=0
while read -r expected file; do
    count=$((count + 1))
    if [ -h "$file" ] || [ ! -f "$file" ]; then
        echo "verify.sh: $file: missing, or not a regular file" >&2
        bad=$((bad + 1))
    elif seen=$(hash_of "$file") && [ "$seen" != "$expected" ]; then
        echo "verify.sh: $file: expected SHA-256 $expected, saw $seen" >&2
        bad=$((bad + 1))
    fi
done <MANIFEST

# What is there and not in the manifest.
extra=$(find . -path ./target -prune -o ! -type d -print | sed 's|^\./||' | sort | while IFS= read -r file; do
    [ "$file" = MANIFEST ] || cut -c 67- MANIFEST | grep -qxF -e "$file" || echo "$file"
done)
if [ -n "$extra" ]; then
    printf '%s\n' "$extra" | sed 's|^|verify.sh: not in MANIFEST: |' >&2
    bad=$((bad + 1))
fi

if [ "$bad" -ne 0 ]; then
    echo "verify.sh: this is not the source archive that was published" >&2
    exit 3
fi
echo "$count files have the hashes of MANIFEST (SHA-256 $(hash_of MANIFEST))"
