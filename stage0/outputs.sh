# outputs.sh -- what happens to the outputs once they are installed.
#
# shellcheck shell=sh disable=SC2154 # the environment defines what is not assigned here

# for_each_output FUNCTION: call FUNCTION with the path of each output that exists.
for_each_output() {
    for outputName in $outputs; do
        eval "outputPath=\$$outputName"
        [ ! -d "$outputPath" ] || "$1" "$outputPath"
    done
}

# stage0: programs and what they read.  Headers and libraries would be found by the
# final builds, which must not use them.
keep_programs() {
    rm -rf "$1/include" "$1/share/info" "$1/share/man" "$1/share/doc" "$1/share/locale"
    rm -rf "$1/lib/pkgconfig"
    [ ! -d "$1/lib" ] || find "$1/lib" \( -name '*.a' -o -name '*.la' \) -exec rm -f {} +
}
phase_keep_programs() {
    for_each_output keep_programs
}

# They hold the names of the build's inputs, and nothing here needs them.
delete_libtool_archives() {
    find "$1" -name '*.la' -type f -exec rm -f {} +
}
phase_delete_libtool_archives() {
    for_each_output delete_libtool_archives
}

# elf_files DIRECTORY...: names of the ELF files and archives, one a line.  Object files
# (start files) are not among them, nor are Guile's compiled modules: ELF files of no
# processor, which strip refuses.
elf_files() {
    find "$@" -type f ! -name '*.o' ! -name '*.go' -perm -400 -exec awk '
        FNR == 1 {
            if (substr($0, 1, 4) == "\177ELF" || substr($0, 1, 7) == "!<arch>") print FILENAME
            nextfile
        }' {} +
}

strip_output() {
    for directory in lib lib64 libexec bin sbin; do
        [ -d "$1/$directory" ] || continue
        chmod -R u+w "$1/$directory"
        # shellcheck disable=SC2086 # options
        elf_files "$1/$directory" | xargs -r strip $stripOptions
    done
}

# -D: an archive's members get no date, owner or mode.  FreeBSD 14's strip has no such option; where it is the one that
# is used, before stage0's binutils, the outputs hold no archives.
phase_strip() {
    stripOptions=--strip-unneeded
    if strip -D --version >/dev/null 2>&1; then
        stripOptions="$stripOptions -D"
    fi
    for_each_output strip_output
}

# Two packages that install it would collide in a profile.
delete_info_directory() {
    rm -f "$1/share/info/dir"
}
phase_delete_info_dir_file() {
    for_each_output delete_info_directory
}

# shellcheck disable=SC2154 # out and name come with the environment
phase_install_license_files() {
    for license in COPYING* LICEN[CS]E* Copyright* Licen[cs]e* copyright*; do
        [ -f "$license" ] || continue
        mkdir -p "$out/share/doc/$name"
        cp "$license" "$out/share/doc/$name/"
        chmod 644 "$out/share/doc/$name/$license"
    done
}

# The time stamp is bytes 4 to 7 of the header.
reset_gzip_timestamps() {
    find "$1" -name '*.gz' -type f >"$TMPDIR/.gzipped"
    while read -r gzipped; do
        printf '\0\0\0\0' | dd of="$gzipped" bs=1 seek=4 count=4 conv=notrunc 2>/dev/null
    done <"$TMPDIR/.gzipped"
    rm -f "$TMPDIR/.gzipped"
}
phase_reset_gzip_timestamps() {
    for_each_output reset_gzip_timestamps
}

# Manual and info pages; a link to a page becomes one to the compressed page.
compress_documentation() {
    for directory in share/man share/info; do
        [ -d "$1/$directory" ] || continue
        find "$1/$directory" -type l ! -name '*.gz' >"$TMPDIR/.links"
        while read -r link; do
            target=$(readlink "$link")
            rm "$link"
            ln -s "$target.gz" "$link.gz"
        done <"$TMPDIR/.links"
        rm -f "$TMPDIR/.links"
        # -f: pages with several hard links too.
        find "$1/$directory" -type f ! -name '*.gz' -exec gzip -9nf {} +
    done
}
phase_compress_documentation() {
    for_each_output compress_documentation
}
