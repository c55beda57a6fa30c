#!/bin/sh
# test.sh -- what compile.scm compiles, and where it fails.
#
# usage: GUILE=GUILE test.sh, in this directory. It makes a directory under TMPDIR.
set -eu

compile=$PWD/compile.scm
work=$(cd "${TMPDIR:-/tmp}" && pwd -P)/guile-build-system-test.$$
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/source/a/b"
cd "$work"
unset MAKEFLAGS GUILE_LOAD_PATH GUILE_LOAD_COMPILED_PATH
export GUILE_AUTO_COMPILE=0

# check WHAT COMMAND...
check() {
    what=$1
    shift
    if ! "$@"; then
        echo "not ok: $what" >&2
        exit 1
    fi
    echo "ok: $what"
}

# compile TARGET FILE...
compile() {
    target=$1
    shift
    "$GUILE" --no-auto-compile "$compile" "$work/source" "$work/$target" '^a/never' "$@" 2>"$target.errors"
}

# has TARGET FILE...: these files are in it and no others.
has() {
    target=$1
    shift
    [ "$(cd "$target" && find . -type f | sort | tr '\n' ' ')" = "$(printf './%s ' "$@")" ]
}

cat >source/a/one.scm <<'END'
;; A comment.
(define-module (a one)
  #:use-module (a b two)
  #:export (one))
(include-from-path "a/included.scm")
(define (one) (- (two) included))
END
cat >source/a/b/two.scm <<'END'
(define-module (a b two)
  #:export (two))
(define-syntax-rule (twice number) (* 2 number))
(define (two) (twice 1))
END
echo '(define included 1)' >source/a/included.scm
echo '(define-module (a never)) (no-such-procedure)' >source/a/never.scm
echo '(define-module (c))' >source/c.scm
check 'modules are compiled' compile first a c.scm
check 'and nothing else' has first a/b/two.go a/one.go c.go

NIX_BUILD_CORES=3
export NIX_BUILD_CORES
check 'several at a time' compile second a c.scm
check 'gives the same bytes' diff -r first second

# Two more jobs, which are put back.
mkfifo jobs
exec 3<>"$work/jobs"
printf '++' >&3
MAKEFLAGS=' -j3 --jobserver-auth=3,3'
export MAKEFLAGS
check 'jobs are shared' compile third a c.scm
check 'with the same bytes' diff -r first third
# Two more characters, so that this does not wait for ones that are missing.
printf '..' >&3
check 'and given back' [ "$(dd bs=1 count=2 <&3 2>/dev/null)" = ++ ]
unset MAKEFLAGS

echo '(define-module (d)) (car 1)' >source/d.scm
check 'a module that does not load is an error' eval '! compile fourth a d.scm'
echo '(define-module (d)) (define-syntax-rule (no) (syntax-error "no")) (define (f) (g)) (define (g) (letrec* 1))' >source/d.scm
check 'and so is one that is none' eval '! compile fifth a d.scm'
check 'which is named' grep -q '^d[.]scm:' fifth.errors
check 'and one that is missing' eval '! compile sixth a e.scm'
