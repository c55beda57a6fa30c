# shellcheck shell=sh disable=SC2154 # the builder defines what is not assigned here

delete_phase configure build

phase_check() {
    GUILE=guile "$shell" ./test.sh
}

phase_install() {
    mkdir -p "$out/share/guile-build-system"
    cp compile.scm phases.sh "$out/share/guile-build-system/"
}
