# validate.sh -- what an output may not be.
#
# shellcheck shell=sh disable=SC2154 # the environment defines what is not assigned here

# dynamic_entries DIRECTORY: for each ELF file that the loader reads a line
#     FILE INTERPRETER RUNPATH NEEDED...
# with `-' for what is absent.  All readelfs (GNU, LLVM, FreeBSD) describe these entries
# in the same words, if with different tags before them, and name the file first where
# there are several: hence the first one twice.
dynamic_entries() {
    elf_files "$1" >"$TMPDIR/.elf"
    grep -v '\.a$' "$TMPDIR/.elf" >"$TMPDIR/.programs" || return 0
    read -r firstProgram <"$TMPDIR/.programs"
    xargs readelf -ldW "$firstProgram" <"$TMPDIR/.programs" >"$TMPDIR/.readelf"
    awk '
        function flush() {
            if (file != "" && !(file in seen) && (interpreter != "-" || needed != ""))
                print file, interpreter, runpath, needed
            seen[file] = 1
            interpreter = runpath = "-"; needed = ""
        }
        BEGIN { interpreter = runpath = "-" }
        /^File: / { flush(); file = $2 }
        /program interpreter: / {
            interpreter = $0
            sub(/.*interpreter: /, "", interpreter); sub(/\].*/, "", interpreter)
        }
        /Library (runpath|rpath): \[/ { runpath = $0; sub(/.*\[/, "", runpath); sub(/\].*/, "", runpath) }
        /Shared library: \[/ {
            library = $0; sub(/.*\[/, "", library); sub(/\].*/, "", library)
            needed = needed " " library
        }
        END { flush() }' "$TMPDIR/.readelf"
    rm -f "$TMPDIR/.elf" "$TMPDIR/.programs" "$TMPDIR/.readelf"
}

# validate_entry FILE INTERPRETER RUNPATH NEEDED...: count in `invalid' what is wrong.

validate_entry() {
    elfFile=$1 interpreter=$2 runpath=$3
    shift 3
    if [ "$stage" = stage0 ]; then
        echo "validate-runpath: $elfFile is not statically linked (interpreter $interpreter, needs: $*)" >&2
        invalid=$((invalid + 1))
        return 0
    fi
    case $interpreter in
        - | /gnu/store/*/"$loader") ;;
        *)
            echo "validate-runpath: $elfFile: the loader is $interpreter, not the store's $loader" >&2
            invalid=$((invalid + 1))
            ;;
    esac
    [ "$runpath" != - ] || runpath=
    elfOrigin=${elfFile%/*}
    remainder=$runpath:
    while [ -n "$remainder" ]; do
        entry=${remainder%%:*}
        remainder=${remainder#*:}
        case $entry in
            '' | /gnu/store/* | "\$ORIGIN"*) ;;
            *)
                echo "validate-runpath: $elfFile: RUNPATH has \`$entry', which is not in the store" >&2
                invalid=$((invalid + 1))
                ;;
        esac
    done
    for library; do
        [ "$library" != "$loader" ] || continue
        found=
        remainder=$runpath:
        while [ -n "$remainder" ]; do
            entry=${remainder%%:*}
            remainder=${remainder#*:}
            case $entry in
                '') continue ;;
                "\$ORIGIN"*) entry=$elfOrigin${entry#\$ORIGIN} ;;
            esac
            if [ -e "$entry/$library" ]; then
                found=$entry
                break
            fi
        done
        if [ -z "$found" ]; then
            echo "validate-runpath: $elfFile: $library is not found in RUNPATH \`$runpath'" >&2
            invalid=$((invalid + 1))
        fi
    done
}

# Guix's check, and: in stage0 everything is static; elsewhere RUNPATH and loader are
# the store's.
validate_runpath() {
    for directory in lib lib64 libexec bin sbin; do
        [ -d "$1/$directory" ] || continue
        dynamic_entries "$1/$directory" >"$TMPDIR/.dynamic"
        while read -r entries; do
            # shellcheck disable=SC2086 # split at white space
            validate_entry $entries
        done <"$TMPDIR/.dynamic"
        rm -f "$TMPDIR/.dynamic"
    done
}
phase_validate_runpath() {
    invalid=0
    for_each_output validate_runpath
    if [ "$invalid" -ne 0 ]; then
        echo "validate-runpath: $invalid errors" >&2
        return 1
    fi
}

# Documentation belongs under share/.
validate_documentation_location() {
    for directory in man info; do
        if [ -d "$1/$directory" ]; then
            echo "documentation in $1/$directory; it belongs into $1/share/$directory" >&2
            exit 1
        fi
    done
}
phase_validate_documentation_location() {
    for_each_output validate_documentation_location
}
