# shebangs.sh -- scripts start with a program of the store.
#
# A source tree has up to 100,000 files, so nothing here starts a process per file:
# one awk reads the first lines, one sed rewrites the scripts that need it.
#
# shellcheck shell=sh disable=SC2154 # the environment defines what is not assigned here

# patch_shebangs SEARCH-PATH FIND-ARGUMENTS...: in the files that find yields, let the
# interpreter of the first line be the one of the same name in SEARCH-PATH.  What is in
# the store already, or not in SEARCH-PATH, stays.
patch_shebangs() {
    searchPath=$1
    shift
    scripts=$TMPDIR/.shebangs
    # `program file' for each script, the file's name quoted for xargs.  nextfile is
    # in FreeBSD's awk and in POSIX 2024.  For `#!/usr/bin/env perl', perl is meant.
    find "$@" -type f -perm -400 -exec awk '
        FNR == 1 {
            if (substr($0, 1, 2) == "#!" && $0 !~ /^#![ \t]*\/gnu\/store\//) {
                line = substr($0, 3)
                words = split(line, word, /[ \t]+/)
                first = word[1] == "" ? 2 : 1
                interpreter = word[first]
                if (interpreter ~ /\/env$/ && words > first) interpreter = "env:" word[first + 1]
                else if (interpreter !~ /^\//) interpreter = ""
                sub(/.*\//, "", interpreter)
                if (interpreter ~ /^[A-Za-z0-9_.:+-]+$/) {
                    file = FILENAME
                    gsub(/[^A-Za-z0-9_.,\/+=@%-]/, "\\\\&", file)
                    print interpreter, file
                }
            }
            nextfile
        }' {} + >"$scripts"
    [ -s "$scripts" ] || return 0
    : >"$scripts.sed"
    : >"$scripts.known"
    cut -d' ' -f1 "$scripts" | sort -u >"$scripts.programs"
    while read -r interpreter; do
        program=${interpreter#env:}
        absolute=$(PATH=$searchPath command -v "$program" || :)
        case $absolute in
            /gnu/store/*) ;;
            *)
                echo "patch-shebangs: no \`$program' among the inputs; its scripts stay as they are"
                continue
                ;;
        esac
        echo "$interpreter" >>"$scripts.known"
        # The whole name: `sh' is not what runs a bash script.
        case $interpreter in
            env:*) words="env[ 	][ 	]*$program" ;;
            *) words=$program ;;
        esac
        printf '%s\n' "1s|^#![ 	]*/[^ 	]*/$words\\([ 	].*\\)\\{0,1\\}\$|#!$absolute\\1|" \
            >>"$scripts.sed"
    done <"$scripts.programs"
    awk 'NR == FNR { known[$1] = 1; next }
         $1 in known { name = $0; sub(/^[^ ]* /, "", name); print name }' \
        "$scripts.known" "$scripts" >"$scripts.files"
    if [ -s "$scripts.files" ]; then
        echo "patching the first line of $(grep -c '' "$scripts.files") scripts"
        # `-i' with a suffix attached is the one spelling that GNU's and FreeBSD's sed share.
        xargs sed -i.shebang -f "$scripts.sed" <"$scripts.files"
        sed 's/$/.shebang/' "$scripts.files" | xargs rm -f
    fi
    rm -f "$scripts" "$scripts.known" "$scripts.files" "$scripts.sed" "$scripts.programs"
}

# The seed has /bin/sh and env; only where there is none must the scripts change.
#
# Then every source file gets the same time stamp.  A rewritten script, a patched
# Makefile.am or the order of files in a repacked archive would otherwise make some
# generated file look out of date, and make call an autoconf, bison or help2man
# that is not there.
phase_patch_source_shebangs() {
    case $stage in
        stage0 | libc) ;;
        *) patch_shebangs "$PATH" . ;;
    esac
    # By universal time: the first second of 1970 farther east is in 1969, and make takes a file
    # of before the Epoch for one that is not there.
    TZ=UTC0 find . -type f -exec touch -t 197001010000.01 {} +
}

# Like Guix: executable files only, and SHELL in makefiles.
phase_patch_generated_file_shebangs() {
    case $stage in
        stage0 | libc) return 0 ;;
    esac
    patch_shebangs "$PATH" . -perm -100
    find . -type f \( -name Makefile -o -name makefile -o -name GNUmakefile \) \
        -exec grep -l '^SHELL[ 	]*=[ 	]*/bin/' {} + >"$TMPDIR/.makefiles" || :
    while read -r makefile; do
        substitute "$makefile" "s|^SHELL[ 	]*=[ 	]*/bin/[a-z]*sh|SHELL = $shell|"
    done <"$TMPDIR/.makefiles"
    rm -f "$TMPDIR/.makefiles"
}

# An installed script may use what the package itself installs, and what the store has;
# in stage0 never the seed.
phase_patch_shebangs() {
    directories=
    for output in $outputs; do
        eval "output=\$$output"
        for directory in bin sbin libexec; do
            [ ! -d "$output/$directory" ] || directories="$directories $output/$directory"
        done
    done
    [ -n "$directories" ] || return 0
    searchPath=
    for directory in $directories; do
        searchPath=$searchPath$directory:
    done
    # shellcheck disable=SC2086 # store paths hold no white space
    patch_shebangs "$searchPath$PATH" $directories
}
