# shellcheck shell=sh disable=SC2154 # the builder defines what is not assigned here
#
# The C library's own stage: the seed's C library, copied out of the seed's
# root and relocated.  Nothing is compiled.
#
# These are all the phases; strip is not among them, because the files are to
# be the seed's.
# shellcheck disable=SC2034 # the builder reads it
phases="set-paths copy-shared-libraries copy-static-libraries copy-headers copy-data copy-shell
relocate-linker-scripts relocate-libraries point-to-own-files check-own-files check-links validate-runpath"

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
            set -f
            for pattern in $foreignHeaders; do
                # shellcheck disable=SC2254 # it is a pattern
                case $base in
                    $pattern) foreign=1 ;;
                esac
            done
            set +f
            [ -z "$foreign" ] || continue
            # Directories occur in more than one place (asm, sys, ...): merge them.
            cp -RP "$entry" "$out/include/"
            # Debian 13 has the kernel's headers elsewhere, and links to them here.
            find "$out/include/$base" -type l ! -exec test -e {} \; -print >"$TMPDIR/links"
            while read -r link; do
                header=$directory/${link#"$out/include/"}
                chmod u+w "${link%/*}"
                rm "$link"
                cp -L "$header" "$link"
            done <"$TMPDIR/links"
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

# The shell that system(3), popen(3) and execvp(3) run.
phase_copy_shell() {
    mkdir -p "$out/libexec"
    cp -L "$shellFile" "$out/libexec/sh"
    chmod u+w "$out/libexec/sh"
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
    for file in "$out"/lib/*.so* "$out"/$pluginFiles "$out/libexec/sh"; do
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
        case $file in
            */gconv/*) runpath=$runpath:${file%/*} ;;
            # A static shell has neither RUNPATH nor interpreter.
            */libexec/sh) patchelf --print-interpreter "$file" >/dev/null 2>&1 || continue ;;
        esac
        patchelf --set-rpath "$runpath" "$file"
        # A library that can be run as a program (glibc's libc.so.6 prints its
        # version) names a loader too.
        if patchelf --print-interpreter "$file" >/dev/null 2>&1; then
            patchelf --set-interpreter "$out/lib/$loader" "$file"
        fi
    done
}

# Two indexes name their files by absolute paths: iconv's modules, and locales.  The
# release's own programs write them anew.
write_indexes() {
    if [ -d "$out/lib/gconv" ]; then
        iconvconfig --nostdlib -o "$out/lib/gconv/gconv-modules.cache" "$out/lib/gconv"
    fi
    if [ -d "$out/lib/locale" ]; then
        mkdir -p "$TMPDIR/index/usr/lib/locale"
        for locale in "$out"/lib/locale/*; do
            localedef "--prefix=$TMPDIR/index" --add-to-archive "$locale"
        done
        for locale in $compiledLocales; do
            localedef "--prefix=$TMPDIR/index" -i "$locale" -f UTF-8 "$locale.UTF-8"
        done
        cp "$TMPDIR/index/usr/lib/locale/locale-archive" "$out/lib/locale/"
    fi
}

# The library has names of files of the release compiled in.  Those listed in ownFiles
# (OLD=NEW, NEW relative to this item) become names of files here.  libc-paths.c says how.
phase_point_to_own_files() {
    write_indexes
    library=$out/lib/$ownFilesLibrary
    runpath=$out/lib
    set --
    for word in $ownFiles; do
        new=$out/${word#*=}
        if [ ! -e "$new" ]; then
            echo "libc: ownFiles in recipes/libc/recipe.toml names $new, which is not there" >&2
            exit 1
        fi
        runpath=$runpath:$new
        set -- "$@" "${word%%=*}=$new"
    done
    # The static programs of stage0 are of no use here: no LDFLAGS.
    "$CC" -std=c11 -D_XOPEN_SOURCE=700 -O1 -o "$TMPDIR/libc-paths" "$source/libc-paths.c"
    (cd "$source" && "$shell" ./test.sh)
    patchelf --set-rpath "$runpath" "$library"
    "$TMPDIR/libc-paths" "$library" "$@"
    if [ "$(patchelf --print-rpath "$library")" != "$out/lib" ]; then
        echo "libc: the RUNPATH of $library is $(patchelf --print-rpath "$library")" >&2
        exit 1
    fi
}

# The library must still work: a program with it runs a command and sets a locale.
phase_check_own_files() {
    cat >"$TMPDIR/check.c" <<'END'
#include <iconv.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int
main (void)
{
  FILE *pipe = popen ("echo from a pipe", "r");
  char line[80] = "";

  if (system ("exit 7") >> 8 != 7)
    return 1;
  if (pipe == NULL || fgets (line, sizeof line, pipe) == NULL || strcmp (line, "from a pipe\n") != 0)
    return 2;
  if (setlocale (LC_ALL, "C.UTF-8") == NULL || strcmp (nl_langinfo (CODESET), "UTF-8") != 0)
    return 3;
  if (setlocale (LC_ALL, "en_US.UTF-8") == NULL || strcmp (nl_langinfo (MON_1), "January") != 0)
    return 5;
#ifdef __GLIBC__
  if (iconv_open ("UTF-16", "SHIFT_JIS") == (iconv_t) -1)
    return 4;
#endif
  return 0;
}
END
    "$CC" -o "$TMPDIR/check" "$TMPDIR/check.c"
    patchelf --set-interpreter "$out/lib/$loader" --set-rpath "$out/lib" "$TMPDIR/check"
    if "$TMPDIR/check"; then
        echo "the library runs commands and sets a locale"
    else
        echo "libc: $TMPDIR/check ended with status $?, see phase_check_own_files in recipes/libc/phases.sh" >&2
        exit 1
    fi
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
