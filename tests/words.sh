#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Finds wording that CONTRIBUTING.md rules out, in code, messages and documents.
#
#   tests/words.sh          checks every tracked text file
#   tests/words.sh FILE...  checks these
#
# Not checked: what enters derivations (stage0/, phase scripts, patches), whose bytes bootstrap.lock pins; licence
# texts; data.
set -eu

here=$(dirname "$0")
cd "$here/.."
[ "$#" -gt 0 ] || {
    # shellcheck disable=SC2046 # a list
    set -- $(git -c safe.directory="$PWD" ls-files | grep -E '\.(rs|md|sh|toml|tsv|scm|css|js|c|in|txt|py)$|^Makefile$|^\.ci/run$' |
        grep -vE '^(stage0/|recipes/.*\.(sh|patch)$|tests/words\.sh$|LICENSES/)')
}

# Names in this project have no spaces.
files=$*
# Without files, grep would wait for standard input.
[ -n "$files" ] || {
    echo 'tests/words.sh: git knows no files here: run it in a clone' >&2
    exit 1
}
found=0
# rule PATTERN INSTEAD [EXCEPT]: lines with PATTERN, but for those with EXCEPT.
rule() {
    # shellcheck disable=SC2086 # a list
    lines=$(grep -snHiE "$1" -- $files) || [ "$?" -eq 1 ] || {
        echo "tests/words.sh: grep fails on the pattern $1, or cannot read a file" >&2
        exit 1
    }
    [ -z "${3:-}" ] || lines=$(printf '%s\n' "$lines" | grep -viE "$3" || :)
    [ -z "$lines" ] || {
        printf '%s\n' "$lines" | sed "s/\$/   [write: $2]/"
        found=1
    }
}

rule '\bpeople\b' 'users, or leave it out'
rule '\b(whoever|nobody|somebody)\b' 'name the user, process or program' '[`"'"'"']nobody|nobody:|"somebody"|(user|by) somebody|id -u nobody'
rule '\b(anybody|everybody)\b' 'any user, every process'
rule '\banew\b' 'again; rebuild'
rule '\b(can|could|to|cannot) be had\b' 'can be fetched; is available'
rule '\bputs? (right|it right|them right)\b|\bput right\b' 'fix, repair'
rule '\bend(s|ed)? well\b' 'succeeds'
rule '\b(is|are|was|were|be|been) told\b' 'reports, says, names'
rule '\bon record\b' 'recorded'
rule '\bby the clock\b' 'wall-clock time'
rule '\btells? of\b' 'reports, names'
rule '\bthe road\b' 'the build, the bootstrap' 'docs/road\.md|^docs/road\.md:1:'
rule '[]a-z`)}>] (is|are|was|were|can be) no [a-z]+' 'is not a …' '\b(there|here) (is|are|was|were) no |\bno (longer|more|fewer|less|other|better|worse|different|shorter|longer|bigger|smaller|later|earlier|newer|older|such)\b'
exit "$found"
