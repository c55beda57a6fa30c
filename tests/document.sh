# shellcheck shell=sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs the blocks of a document that are marked `sh`, as one script, as they are written. Read by tests/tutorial.sh and
# tests/sharing.sh.

directory=$(mktemp -d)
clean() {
    # Store items are read-only, which stops a user other than root.
    chmod -R u+w "$directory" 2>/dev/null || true
    rm -rf "$directory"
}
trap clean EXIT

# run_document BOOTSTRAP FILE VARIABLE: with the program in PATH as `bootstrap', and $directory/made, where the document
# may make files, in VARIABLE. The directory goes at the end of the shell.
run_document() {
    mkdir "$directory/bin"
    ln -s "$(realpath "$1")" "$directory/bin/bootstrap"
    awk '/^```sh$/ { block = 1; next } /^```$/ { block = 0 } block' "$2" >"$directory/script"
    [ -s "$directory/script" ] || {
        echo "$2 has no block that is marked \`sh': nothing was run" >&2
        exit 1
    }
    env "PATH=$directory/bin:$PATH" "$3=$directory/made" sh -eu -x "$directory/script"
}
