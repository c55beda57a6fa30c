#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Rules that CONTRIBUTING.md states and no other tool checks: licence lines, the width of comments, the length of
# files, commit subjects.
#
#   tests/project.sh     needs git and a clone
set -eu

cd "$(dirname "$0")/.."
[ -n "$(git -c safe.directory="$PWD" ls-files)" ] || {
    echo 'tests/project.sh: git knows no files here: run it in a clone' >&2
    exit 1
}
# The last part of a pipe is a process of its own, so faults are noted in a file.
faults=$(mktemp)
trap 'rm -f "$faults"' EXIT

git() {
    command git -c safe.directory="$PWD" "$@"
}

# rule WHAT: fails, with the lines of standard input, if there are any.
rule() {
    lines=$(cat)
    [ -z "$lines" ] || {
        printf 'tests/project.sh: %s:\n%s\n' "$1" "$lines" >&2
        echo "$1" >>"$faults"
    }
}

# Every tracked file has an SPDX line among its first three, or REUSE.toml covers it.
licence='SPDX-License-Identifier: GPL-3.0-or-later'
covered=$(sed -n '/^path = \[/,/\]/p' REUSE.toml | grep -o '"[^"]*"' | tr -d '"' | sed 's/\*\*/*/g')
set -f
git ls-files | while IFS= read -r file; do
    # The licence itself needs none; a file may be deleted and not yet committed.
    if [ "$file" = COPYING ] || [ ! -f "$file" ]; then continue; fi
    if head -n 3 "$file" | grep -qF "$licence"; then continue; fi
    for pattern in $covered; do
        # shellcheck disable=SC2254 # patterns, whose * matches / as well
        case $file in $pattern) continue 2 ;; esac
    done
    echo "$file"
done | rule "without \`$licence' in the first three lines, and not covered by REUSE.toml"

# rustfmt wraps comments only in its nightly versions. A line that is one long word, such as a URL, cannot be wrapped.
git ls-files '*.rs' '*.sh' '*.toml' 'Makefile' | grep -v -e '^stage0/' -e '^recipes/' | while IFS= read -r file; do
    [ -f "$file" ] || continue
    # Columns, not bytes: continuation bytes of UTF-8 do not count.
    LC_ALL=C awk -v file="$file" '
        { gsub(/[\200-\277]/, "") }
        (file ~ /\.rs$/ ? /^[ \t]*\/\// : /^[ \t]*#/) && length($0) > 120 && $0 !~ /^[ \t]*[\/!#]* *\|/ &&
            $0 !~ /^[ \t]*[\/!#]* *[^ ]*$/ && $0 !~ /https?:/ {
            print file ":" FNR ": " length($0) " columns"
        }' "$file"
done | rule 'comments of more than 120 columns'

# A file has one subject.
git ls-files 'src/*.rs' 'tests/*.rs' 'benches/*.rs' | while IFS= read -r file; do
    [ -f "$file" ] || continue
    lines=$(wc -l <"$file")
    [ "$lines" -le 500 ] || echo "$file: $lines lines"
done | rule 'files of more than 500 lines'

# Subjects of commits after the one named here. A shallow clone, or a source archive in a repository of its own, may
# lack the base.
base=451567ea00
if git merge-base --is-ancestor "$base" HEAD 2>/dev/null; then
    git log --format='%h %s' "$base..HEAD"
else
    git log -1 --format='%h %s'
fi | awk '{ subject = $0; sub(/^[^ ]* /, "", subject); if (length(subject) > 72) print }' |
    rule 'commit subjects of more than 72 columns'

[ ! -s "$faults" ]
