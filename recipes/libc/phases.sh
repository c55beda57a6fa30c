# shellcheck shell=sh disable=SC2154 # the builder defines what is not assigned here
#
# The C library's own stage: the seed's C library, copied out of the seed's
# root and relocated.  Nothing is compiled.
#
# These are all the phases; strip is not among them, because the files are to
# be the seed's.
# shellcheck disable=SC2034 # the builder reads it
phases="set-paths copy-shared-libraries copy-static-libraries copy-headers copy-data
relocate-linker-scripts relocate-libraries check-links validate-runpath"

# What to copy is in recipe.toml, one list per platform (libraryDirectories,
# sharedLibraries, ...); this file knows no platform.  Lists hold file names or
# patterns; a name that the seed does not have stops the build, except in the
# optional lists.

# Print the path of every file that matches pattern $1 in the seed's library
# directories.
seed_libraries() {
    for directory in $libraryDirectories; do
        # The pattern is meant to be expanded here.
        for file in "$directory"/$1; do
            if [ -e "$file" ] || [ -L "$file" ]; then
                echo "$file"
            fi
        done
    done
}

# Copy the seed's library file $1 into directory $2.  A link becomes a link to
# its target's base name: the seed spreads libraries over several directories
# (/lib and /usr/lib), here all live in one.
copy_library() {
    base=${1##*/}
    if [ -e "$2/$base" ] || [ -L "$2/$base" ]; then
        return 0
    fi
    if [ -L "$1" ]; then
        target=$(readlink "$1")
        target=${target##*/}
        if [ "$target" != "$base" ]; then
            ln -s "$target" "$2/$base"
            return 0
        fi
    fi
    cp -L "$1" "$2/$base"
    chmod u+w "$2/$base"
}

# copy_list DIRECTORY required|optional PATTERN...: patterns are passed quoted
# by `set -f` in the caller.
copy_list() {
    destination=$1
    need=$2
    shift 2
    for pattern in "$@"; do
        set +f
        files=$(seed_libraries "$pattern")
        if [ -z "$files" ] && [ "$need" = required ]; then
            echo "libc: the seed has no file '$pattern' in: $libraryDirectories" >&2
            echo "libc: correct the platform's list in recipes/libc/recipe.toml" >&2
            return 1
        fi
        for file in $files; do
            copy_library "$file" "$destination"
        done
    done
}

# Print what kind of library file $1 is: elf, archive, stub or script.
# A stub is an archive without members: since glibc 2.34 libpthread.a, libdl.a
# and others are empty, and there is no libpthread.so any more, so that a
# dynamic `-lpthread` is satisfied by the stub alone.
library_kind() {
    # Without its zero bytes a shell variable can hold the magic number.
    magic=$(dd if="$1" bs=1 count=8 2>/dev/null | tr -d '\000\n')
    case $magic in
        ?ELF*) echo elf ;;
        '!<arch>')
            if [ "$(wc -c <"$1")" -eq 8 ]; then
                echo stub
            else
                echo archive
            fi
            ;;
        *) echo script ;;
    esac
}

phase_copy_shared_libraries() {
    mkdir -p "$out/lib"
    # The words of a list are patterns: keep the shell from expanding them here.
    set -f
    # shellcheck disable=SC2086 # lists of words
    copy_list "$out/lib" required $sharedLibraries $startFiles $nonsharedArchives
    set -f
    # shellcheck disable=SC2086
    copy_list "$out/lib" optional $optionalLibraries
    set +f
    # The loader may live elsewhere (/libexec on FreeBSD); `loader` is its name.
    cp -L "$loaderFile" "$out/lib/$loader"
    chmod u+w "$out/lib/$loader"
}

phase_copy_static_libraries() {
    mkdir -p "$static/lib"
    set -f
    # shellcheck disable=SC2086
    copy_list "$static/lib" required $staticLibraries
    set +f
    for file in "$static"/lib/*.a; do
        if [ ! -L "$file" ] && [ "$(library_kind "$file")" = stub ]; then
            cp "$file" "$out/lib/"
        fi
    done
}

phase_copy_headers() {
    mkdir -p "$out/include"
    for directory in $headerDirectories; do
        for entry in "$directory"/*; do
            base=${entry##*/}
            # Other packages' headers in the same directory: each is listed because
            # it would otherwise hide the compiler's own (c++) or is not the C
            # library's.
            foreign=
            for header in $foreignHeaders; do
                [ "$header" != "$base" ] || foreign=1
            done
            [ -z "$foreign" ] || continue
            # Directories occur in more than one place (asm, sys, ...): merge them.
            cp -RP "$entry" "$out/include/"
        done
    done
    chmod -R u+w "$out/include"
}

# Data that the library opens at run time, as "SOURCE=TARGET" words.
phase_copy_data() {
    for word in $dataFiles; do
        target=$out/${word#*=}
        mkdir -p "${target%/*}"
        cp -RP "${word%%=*}" "$target"
        chmod -R u+w "$target"
    done
}

# Rewrite linker script $1: every absolute file name in it becomes the name of
# the same file in this item.
relocate_script() {
    awk -v out="$out/lib" -v static="$static/lib" '
        function exists(file, line, status) {
            status = (getline line < file)
            close(file)
            return status >= 0
        }
        {
            gsub(/[()]/, " & ")
            count = split($0, word, " ")
            text = ""
            for (i = 1; i <= count; i++) {
                if (word[i] ~ /^\/[^*]/) {
                    base = word[i]
                    sub(/^.*\//, "", base)
                    if (exists(out "/" base)) word[i] = out "/" base
                    else if (exists(static "/" base)) word[i] = static "/" base
                    else {
                        print "libc: linker script names " word[i] ", which was not copied" > "/dev/stderr"
                        failed = 1
                    }
                }
                text = text (i > 1 ? " " : "") word[i]
            }
            print text
        }
        END { exit failed }
    ' "$1" >"$1.new"
    mv "$1.new" "$1"
}

phase_relocate_linker_scripts() {
    for file in "$out"/lib/*.so "$static"/lib/*.a; do
        if [ ! -L "$file" ] && [ "$(library_kind "$file")" = script ]; then
            relocate_script "$file"
        fi
    done
}

# Let the loader find a library's own needs beside it, whoever loads it: the
# loader looks for an indirect need in the RUNPATH of the library that has it,
# not in the program's.
phase_relocate_libraries() {
    for file in "$out"/lib/*.so* "$out"/$pluginFiles; do
        if [ ! -f "$file" ] || [ -L "$file" ] || [ "$(library_kind "$file")" != elf ]; then
            continue
        fi
        case ${file##*/} in
            # The loader must stay as it is: the kernel starts it by itself, before
            # there is anything that could find a library for it.
            "$loader") continue ;;
        esac
        # glibc's conversion modules need libraries that lie beside them, in gconv.
        runpath=$out/lib
        if [ "${file%/*}" != "$out/lib" ]; then
            runpath=$runpath:${file%/*}
        fi
        patchelf --set-rpath "$runpath" "$file"
        # A library that can be run as a program (glibc's libc.so.6 prints its
        # version) names a loader too.
        if patchelf --print-interpreter "$file" >/dev/null 2>&1; then
            patchelf --set-interpreter "$out/lib/$loader" "$file"
        fi
    done
}

# A link whose target was not copied would only be noticed by whoever links
# with it, much later.
phase_check_links() {
    dangling=$(find "$out" "$static" -type l ! -exec test -e {} \; -print)
    if [ -n "$dangling" ]; then
        echo "libc: links to files that were not copied:" >&2
        echo "$dangling" >&2
        return 1
    fi
}
