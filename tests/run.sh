#!/bin/sh
# Everything that `make test' checks, cheapest first; stops at the first failure.
#
# The oracle tests need Debian's nix-bin, guile-3.0 and guile-gcrypt, the shell check shellcheck, the report's test
# chromium (tests/report/install.sh); each says so when it is missing.
set -eu

cd "$(dirname "$0")/.."
: "${CARGO:=cargo}"

step() {
    printf '\n== %s\n' "$1"
}

for tool in shellcheck nix-instantiate guile chromedriver; do
    command -v "$tool" >/dev/null 2>&1 || {
        echo "tests/run.sh: \`$tool' is missing; on Debian: apt-get install shellcheck nix-bin guile-3.0 guile-gcrypt chromium chromium-driver" >&2
        exit 1
    }
done

step 'formatting'
$CARGO fmt --check

step 'shell scripts'
# Every script under version control, by name or by its first line.
git ls-files | while IFS= read -r file; do
    case $file in
        *.sh) echo "$file" ;;
        *) if head -n 1 "$file" | grep -q '^#!.*sh$'; then echo "$file"; fi ;;
    esac
done | xargs shellcheck -x

step 'lints'
$CARGO clippy --locked --all-targets -- -D warnings

step 'documentation'
RUSTDOCFLAGS='-D warnings' $CARGO doc --locked --no-deps

step 'unit, property, oracle, browser and sandbox tests'
BOOTSTRAP_BROWSER_REQUIRED=1 $CARGO test --locked

# What only FreeBSD compiles is type-checked and linked here, where it cannot run; `make freebsd' takes the same way,
# and ten minutes to optimise. Needs Debian's packages.
if command -v apt-get >/dev/null 2>&1; then
    step 'lints for FreeBSD'
    sh cross/freebsd.sh clippy
    step 'the program for FreeBSD'
    sh cross/freebsd.sh link
else
    step 'FreeBSD: left out, its compiler comes from Debian'
fi

step 'a piece of the real road'
$CARGO build --release --locked
sh tests/road.sh target/release/bootstrap
