# build.sh -- configure, make, make check, make install.
#
# A recipe's phases.sh may set outOfSource=1 (configure in a folder of its own, beside
# the source).
#
# shellcheck shell=sh disable=SC2154 # the environment defines what is not assigned here

outOfSource=0

phase_configure() {
    sourceDirectory=.
    if [ "$outOfSource" = 1 ]; then
        sourceDirectory=../${PWD##*/}
        mkdir ../build
        cd ../build || exit
    fi
    eval "set -- ${configureFlags:-}"
    # A `lib' output takes the libraries, as in Guix.
    case " $outputs " in
        *" lib "*) eval 'set -- "--libdir=$lib/lib" "--includedir=$lib/include" "$@"' ;;
    esac
    # --build: config.guess would put the running kernel's version into the triplet.
    # shellcheck disable=SC2154 # out and triplet come with the environment
    set -- "CONFIG_SHELL=$shell" "SHELL=$shell" "--prefix=$out" --enable-fast-install \
        "--build=$triplet" "$@"
    echo "configure flags: $*"
    # By a relative name: some packages record it, with the build directory in it.
    "$shell" "$sourceDirectory/configure" "$@"
}

# run_make ARGUMENTS...: make with the recipe's flags.  How many jobs run at once is the
# jobserver's business (MAKEFLAGS).  SHELL on the command line reaches the sub-makes
# too; make's own default is /bin/sh.
run_make() {
    eval "set -- ${makeFlags:-} \"\$@\""
    make "SHELL=$shell" "$@"
}

phase_build() {
    run_make
}

# skip_tests FILE...: let the tests FILE, scripts or sources of programs, do nothing but
# say that they were skipped: to automake, exit status 77 means that.
skip_tests() {
    [ "$tests" = 1 ] || return 0
    for skipped; do
        if [ ! -f "$skipped" ]; then
            echo "skip_tests: no test \`$skipped' in $PWD" >&2
            exit 1
        fi
        echo "not run: $skipped"
        case $skipped in
            *.c) echo 'int main (void) { return 77; }' ;;
            *) printf '#!%s\nexit 77\n' "$shell" ;;
        esac >"$skipped"
    done
}

phase_check() {
    if [ "$tests" = 1 ]; then
        run_make "${checkTarget:-check}"
    else
        echo "test suite not run"
    fi
}

phase_install() {
    eval "set -- ${installFlags:-}"
    run_make install "$@"
}
