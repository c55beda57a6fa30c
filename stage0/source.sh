# source.sh -- from the source item to a patched tree.
#
# shellcheck shell=sh disable=SC2154 # the environment defines what is not assigned here

# enter_first_directory: change to the one folder that an archive makes.
enter_first_directory() {
    for directory in ./*/; do
        if [ -d "$directory" ]; then
            cd "$directory" || exit
            return
        fi
    done
    echo "unpack: the source made no folder in $PWD" >&2
    exit 1
}

# unpack_archive FILE: bsdtar writes file names, which archives have as UTF-8, in the
# locale's encoding, and ends with an error where that has no such letters.
unpack_archive() {
    LC_ALL=C.UTF-8 tar -xf "$1"
}

# The source is an archive, or (a regenerated one) a folder.
phase_unpack() {
    if [ -d "$source" ]; then
        mkdir source
        cp -R "$source/." source
        chmod -R u+w source
        cd source || exit
    else
        unpack_archive "$source"
        enter_first_directory
    fi
}

# -t is --batch, which FreeBSD's patch spells only so.
phase_apply_patches() {
    for patchFile in ${patches:-}; do
        echo "applying \`$patchFile'"
        patch -p1 -t -i "$patchFile"
    done
}

# substitute FILE SED-ARGUMENTS...: edit FILE in place.  It keeps its time stamp (make
# must not see it as newer than what was generated from it) and its mode.  It is an
# error if nothing changes: the substitution has outlived the text it was meant for.
substitute() {
    substituted=$1
    shift
    sed "$@" "$substituted" >"$substituted.new"
    if cmp -s "$substituted" "$substituted.new"; then
        echo "substitute: nothing to substitute in $substituted with: $*" >&2
        exit 1
    fi
    touch -r "$substituted" "$substituted.new"
    touch "$substituted.stamp"
    touch -r "$substituted" "$substituted.stamp"
    cat "$substituted.new" >"$substituted"
    touch -r "$substituted.stamp" "$substituted"
    rm "$substituted.new" "$substituted.stamp"
}

# libtool's test asks /usr/bin/file, which no sandbox has, for the word size.
phase_patch_usr_bin_file() {
    fileCommand=$(command -v file || :)
    case $fileCommand in
        /gnu/store/*) ;;
        *) return 0 ;;
    esac
    find . -name configure -type f -exec grep -l /usr/bin/file {} + >"$TMPDIR/files" || :
    while read -r configureScript; do
        substitute "$configureScript" "s|/usr/bin/file|$fileCommand|g"
    done <"$TMPDIR/files"
    rm -f "$TMPDIR/files"
}
