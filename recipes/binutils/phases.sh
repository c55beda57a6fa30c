# shellcheck shell=sh disable=SC2154 # the builder defines what is not assigned here

# In stage0 the programs must be static.  Libtool swallows -static (it takes it
# to be about libtool's own libraries) and heeds -all-static; the configure
# scripts, which make runs for each folder, must get -static all the same,
# because no compiler knows -all-static.  So all of them are run first.
phase_build() {
    if [ "$stage" = stage0 ]; then
        run_make configure-host
        run_make LDFLAGS=-all-static
    else
        run_make
    fi
}

phase_install() {
    if [ "$stage" = stage0 ]; then
        run_make LDFLAGS=-all-static install
    else
        run_make install
    fi
    # A second copy of the programs, for a cross compiler's gcc that looks for
    # them there; ours takes them from PATH.
    rm -rf "${out:?}/$triplet/bin"
    # The same file again.
    ln -sf ld "$out/bin/ld.bfd"
}
