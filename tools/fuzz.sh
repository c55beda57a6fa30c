#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs fuzz targets, each for a given time.
#
#   tools/fuzz.sh SECONDS [TARGET...]     all targets of fuzz/Cargo.toml, or those named
#
# The corpus stays in fuzz/corpus/TARGET for the next time. A target that finds something stops; its input is left in
# fuzz/artifacts/TARGET, and the status is 1 after the others have run.
set -eu

cd "$(dirname "$0")/.."
: "${CARGO:=cargo}"

fail() {
    echo "tools/fuzz.sh: $*" >&2
    exit 1
}

seconds=${1:-}
case $seconds in
    '' | *[!0-9]* | 0) fail "expected a number of seconds for each target, saw \`$seconds'" ;;
esac
shift
known=$(sed -n '/^\[\[bin\]\]/,/^path/s/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml)
[ -n "$known" ] || fail 'fuzz/Cargo.toml names no target'
# Names of targets are single words.
# shellcheck disable=SC2086
[ "$#" -gt 0 ] || set -- $known
for target; do
    printf '%s\n' "$known" | grep -qxF -e "$target" || fail "no fuzz target \`$target'; there are: $(echo "$known" | tr '\n' ' ')"
done
"$CARGO" fuzz --version >/dev/null 2>&1 || fail 'cargo-fuzz is missing
hint: cargo install cargo-fuzz'

# libFuzzer's instrumentation is not stable in rustc: this makes a stable compiler accept it.
RUSTC_BOOTSTRAP=1
export RUSTC_BOOTSTRAP
failed=
for target; do
    printf '\n== %s, %s s\n' "$target" "$seconds"
    "$CARGO" fuzz run "$target" -- -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 ||
        failed="$failed $target"
done
[ -z "$failed" ] || fail "these targets found something, or did not compile:$failed"
