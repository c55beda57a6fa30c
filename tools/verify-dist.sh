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
    hash() { sha256sum "$@"; }
    # Of the files that standard input names, a line each.
    hashes() { tr '\n' '\0' | xargs -0 sha256sum --; }
elif command -v sha256 >/dev/null 2>&1; then
    hash() { sha256 -r "$@"; }
    hashes() { tr '\n' '\0' | xargs -0 sha256 -r --; }
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
regular=
newline='
'
while read -r _ file; do
    count=$((count + 1))
    if [ -h "$file" ] || [ ! -f "$file" ]; then
        echo "verify.sh: $file: missing, or not a regular file" >&2
        bad=$((bad + 1))
    else
        regular=$regular$file$newline
    fi
done <MANIFEST

# All at once: a process for each file would take a minute.
wrong=$(printf '%s' "$regular" | hashes | awk -v regular="$((count - bad))" '
    FILENAME == "MANIFEST" {
        file = substr($0, 67)
        if (file in expected) print "verify.sh: " file ": expected one line of MANIFEST, saw another"
        expected[file] = substr($0, 1, 64)
        next
    }
    {
        seen = substr($0, 1, 64)
        file = substr($0, 65)
        sub(/^ +/, "", file)
        hashed++
        if (seen != expected[file]) print "verify.sh: " file ": expected SHA-256 " expected[file] ", saw " seen
    }
    END { if (hashed != regular) print "verify.sh: " regular - hashed " of " regular " files could not be read" }
' MANIFEST -)
if [ -n "$wrong" ]; then
    printf '%s\n' "$wrong" >&2
    bad=$((bad + 1))
fi

# What is there and not in the manifest.
extra=$(find . -path ./target -prune -o ! -type d -print | sed 's|^\./||' | sort | awk '
    FILENAME == "MANIFEST" { known[substr($0, 67)]; next }
    $0 != "MANIFEST" && !($0 in known)
' MANIFEST -)
if [ -n "$extra" ]; then
    printf '%s\n' "$extra" | sed 's|^|verify.sh: not in MANIFEST: |' >&2
    bad=$((bad + 1))
fi

if [ "$bad" -ne 0 ]; then
    echo "verify.sh: this is not the source archive that was published" >&2
    exit 3
fi
echo "$count files have the hashes of MANIFEST (SHA-256 $(hash MANIFEST | cut -d ' ' -f 1))"
