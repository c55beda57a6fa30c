# shellcheck shell=sh disable=SC2154 # the environment defines out, CXX ...

# The archive has no configure; the program is one file.
delete_phase configure

phase_build() {
    # shellcheck disable=SC2086 # flags
    $CXX -std=c++17 $CXXFLAGS -D_FILE_OFFSET_BITS=64 '-DPACKAGE_STRING="patchelf 0.14.3"' \
        $LDFLAGS -o patchelf src/patchelf.cc
}

phase_install() {
    mkdir -p "$out/bin"
    cp patchelf "$out/bin/"
}
