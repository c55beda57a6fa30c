# phases.sh -- phases of packages that are modules of Guile, with no program of C: after Guix's guile-build-system.
#
# A recipe's phases.sh reads this file first. Then it sets guileModules, files and folders of the source that are
# installed, and compiled where they are modules; guileTests, files that build-aux/test-driver.scm runs; and, where not
# all modules can be compiled, guileNotCompiled, a regular expression of the others.
#
# Neither `configure' nor a makefile is used: where the source has none, automake, a program of Perl, would have to make
# them first.
#
# shellcheck shell=sh disable=SC2154 # the environment and the recipe define what is not assigned here

guileSite=share/guile/site/3.0
guileCompiled=lib/guile/3.0/site-ccache
# No file has this name.
guileNotCompiled='^$'
guileTests=

phase_configure() {
    :
}

# fill_in FILE SED-ARGUMENT...: makes FILE from FILE.in, as `configure' would.
fill_in() {
    filled=$1
    shift
    sed "$@" "$filled.in" >"$filled"
    if grep '@[A-Z][A-Z0-9_]*@' "$filled"; then
        echo "fill_in: left open in $filled" >&2
        exit 1
    fi
}

# guile_here ARGUMENT...: Guile, which finds the source's modules and those of the inputs.
guile_here() {
    GUILE_LOAD_PATH="$PWD${GUILE_LOAD_PATH:+:$GUILE_LOAD_PATH}" \
        GUILE_LOAD_COMPILED_PATH="$PWD/$guileCompiled${GUILE_LOAD_COMPILED_PATH:+:$GUILE_LOAD_COMPILED_PATH}" \
        guile --no-auto-compile "$@"
}

phase_build() {
    # shellcheck disable=SC2086 # words
    guile_here "$input_guile_build_system/share/guile-build-system/compile.scm" \
        "$PWD" "$PWD/$guileCompiled" "$guileNotCompiled" $guileModules
}

phase_check() {
    if [ "$tests" != 1 ]; then
        echo "test suite not run"
        return
    fi
    failed=
    for test in $guileTests; do
        guile_here -e main build-aux/test-driver.scm --test-name="$test" \
            --log-file="$test.log" --trs-file="$test.trs" --brief=yes -- "$test" || :
        if ! grep -Eq '^:global-test-result: (PASS|SKIP|XFAIL)' "$test.trs"; then
            cat "$test.log"
            failed="$failed $test"
        fi
    done
    if [ -n "$failed" ]; then
        echo "tests that failed:$failed" >&2
        exit 1
    fi
}

phase_install() {
    mkdir -p "$out/$guileSite" "$out/${guileCompiled%/*}"
    # shellcheck disable=SC2086 # words
    cp -R $guileModules "$out/$guileSite/"
    find "$out/$guileSite" -name '*.in' -exec rm -f {} +
    cp -R "$guileCompiled" "$out/${guileCompiled%/*}/"
}
