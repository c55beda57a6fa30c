# shellcheck shell=sh disable=SC2154 # the builder defines what is not assigned here

# gcc's configure does not want to run in the source tree.
# shellcheck disable=SC2034 # the builder reads it
outOfSource=1

# Headers, libgcc and libstdc++ are what stage0's gcc is for.
if [ "$stage" = stage0 ]; then
    delete_phase keep-programs
fi

# unpack_as NAME ARCHIVE: the folder in ARCHIVE becomes ./NAME.
unpack_as() {
    mkdir "$1.unpacked"
    (cd "$1.unpacked" && unpack_archive "$2")
    for folder in "$1.unpacked"/*; do
        mv "$folder" "$1"
    done
    rmdir "$1.unpacked"
}

phase_unpack() {
    mkdir archive
    cd archive || exit
    unpack_archive "$source"
    # Debian's archive holds an archive (and others, of front ends).
    for nested in */gcc-"$version"*.tar.xz; do
        if [ -f "$nested" ]; then
            unpack_as "../gcc-$version" "$PWD/$nested"
        else
            mv "gcc-$version" ..
        fi
    done
    cd "../gcc-$version" || exit
    rm -rf ../archive
    # Configure finds them under these names and builds them along with gcc.
    unpack_as gmp "$source_gmp"
    unpack_as mpfr "$source_mpfr"
    unpack_as mpc "$source_mpc"
    # Debian's gmp lacks doc/, and its configure stops where there is no
    # doc/Makefile.in to make a makefile of.
    if [ ! -e gmp/doc/Makefile.in ]; then
        mkdir -p gmp/doc
        echo 'all install check clean mostlyclean distclean:' >gmp/doc/Makefile.in
    fi
}

# No manuals: there is no texinfo to make the info pages with (in Debian's source
# they are stubs that not even the build's own checks accept), and where the
# source has manual pages, they are made anew all the same, by a perl program.
phase_leave_out_manuals() {
    substitute gcc/Makefile.in -e 's/ install-man install-info / /' -e 's/^doc: .*/doc:/'
}
add_phase_after apply-patches leave-out-manuals

# Tell gcc where the C library is: without these edits every program would need
# -B, -L, -rpath and -dynamic-linker options to be linked and run.
phase_point_to_libc() {
    substitute "$loaderHeader" "s|\"$loaderText\"|\"$input_libc/lib/$loader\"|"
    # The specification of libraries: -L because the linker has no directory of
    # its own; RUNPATH only where there will be a loader to read it.
    spec="-L$input_libc/lib %{!static:%{!static-pie:$linkSpec}} "
    substitute "$linkSpecHeader" "s|^#define $linkSpecMacro|& \"$spec\"|"
    # crt1.o and its like.  The folder gcc would search next, /usr/lib/, becomes
    # none.
    substitute gcc/gcc.cc \
        -e "s|\\(define STANDARD_STARTFILE_PREFIX_1\\) \"/lib/\"|\\1 \"$input_libc/lib/\"|" \
        -e "s|\\(define STANDARD_STARTFILE_PREFIX_2\\) \"/usr/lib/\"|\\1 \"\"|"
    # Libraries go to lib, not to lib64, also those of 64 bits.
    substitute gcc/config/i386/t-linux64 's|m64=../lib64|m64=../lib|'
}
add_phase_after apply-patches point-to-libc

# A compiler takes only precompiled headers of its own kind, which it knows by a checksum
# of its object files.  These hold store paths: the same compiler, built from another
# seed, would have another checksum.  The version and the options do as well.
phase_checksum_without_paths() {
    for language in c cp; do
        substitute "gcc/$language/Make-lang.in" \
            's|\(build/genchecksum$(build_exeext)\) $(C[A-Z_]*) .*$(LIBDEPS)|\1 $(srcdir)/BASE-VER|'
    done
}
add_phase_after apply-patches checksum-without-paths

# The arguments of configure would be in `gcc -v', and with them the names of
# the shell and of other tools of the previous stage.
phase_forget_configure_arguments() {
    substitute Makefile 's|^TOPLEVEL_CONFIGURE_ARGUMENTS=.*|TOPLEVEL_CONFIGURE_ARGUMENTS=|'
}
add_phase_after configure forget-configure-arguments

phase_remove_leftovers() {
    for directory in "$out" ${lib:+"$lib"}; do
        # Scripts to correct the system's headers again when they change, which
        # those in the store don't; they name the previous stage's shell.
        find "$directory" -type d -name install-tools -prune -exec rm -rf {} +
        # Corrected copies of the C library's headers.  It has no need of them, and
        # a copy would hide a later libc's header.  limits.h and syslimits.h
        # are gcc's own.
        find "$directory" -path '*/include-fixed/*' -type f ! -name limits.h ! -name syslimits.h \
            -exec rm -f {} +
        find "$directory" -depth -path '*/include-fixed/*' -type d -exec rmdir {} +
        # For gdb, written in Python; the copy in `lib' would refer to `out'.
        find "$directory" -name '*-gdb.py' -exec rm -f {} +
        rm -rf "$directory"/share/gcc-*/python
    done
    if [ "$stage" = stage0 ]; then
        rm -rf "$out/share"
    fi
}
add_phase_after install remove-leftovers

# Programs that stage0's gcc links need nothing but libc. The shared libraries were made all the same: with them
# libstdc++.a and libgcc.a have the code that the final gcc's have, and a gcc linked with either is the same
# (`bootstrap verify --fixpoint gcc').
phase_leave_static_libraries() {
    find "$out/lib" -name 'lib*.so*' -exec rm -f {} +
    # The compiler asks for libgcc_s by itself, as libgcc.a alone cannot unwind.
    echo 'INPUT(-lgcc_eh)' >"$out/lib/libgcc_s.so"
}
if [ "$stage" = stage0 ]; then
    add_phase_after remove-leftovers leave-static-libraries
fi
