#!/bin/sh
# test.sh -- libc-paths, with a small shared library in place of a C library.
#
# usage: CC=COMPILER test.sh, in this directory.  It makes a directory under TMPDIR.
set -eu

source=$(pwd -P)
work=$(cd "${TMPDIR:-/tmp}" && pwd -P)/libc-paths-test.$$
trap 'rm -rf "$work"' EXIT
mkdir "$work"
cd "$work"

compile() {
    "${CC:-cc}" -O1 "$@"
}
compile -std=c11 -D_XOPEN_SOURCE=700 -o libc-paths "$source/libc-paths.c"

failures=0
failed() {
    failures=$((failures + 1))
    echo "FAIL: $*" >&2
}

# The linker may keep one copy of a string that is the end of another.
cat >library.c <<'END'
const char *shell (void) { return "/bin/sh"; }
const char *again (int n) { return n ? "/bin/sh" : "/bin/shadow"; }
const char *longer (void) { return "xyz/bin/sh"; }
const char *place (void) { return "/usr/lib/locale"; }
static const volatile char copied[] = "/copied/as/bytes";
char first (void) { return copied[0]; }
END
cat >main.c <<'END'
#include <stdio.h>
extern const char *shell (void), *again (int), *longer (void), *place (void);
int
main (int argc, char **argv)
{
  (void) argv;
  printf ("%s %s %s %s %s\n", shell (), again (argc), again (argc - 1), longer (), place ());
  return 0;
}
END
new_shell=/store/00000000000000000000000000000000-libc/libexec/sh
new_place=/store/00000000000000000000000000000000-libc/lib/locale
compile -shared -fPIC -o original.so library.c "-Wl,-rpath,$work:$new_shell:$new_place"
compile -o main main.c original.so "-Wl,-rpath,$work"

# restore: the library as the linker made it.
restore() {
    cp original.so library.so
}
# refused NAME ARGUMENT...: status 1 or 2, a message, and the file is what it was.
refused() {
    test=$1
    shift
    restore
    if ./libc-paths "$@" >stdout 2>stderr; then
        failed "$test: it was accepted"
    fi
    [ -s stderr ] || failed "$test: no message"
    cmp -s original.so library.so || failed "$test: the library was changed"
}

restore
./libc-paths library.so "/bin/sh=$new_shell" "/usr/lib/locale=$new_place" >stdout || failed "two strings"
cp original.so kept.so
cp library.so original.so
seen=$(./main)
cp kept.so original.so
expected="$new_shell $new_shell /bin/shadow xyz/bin/sh $new_place"
[ "$seen" = "$expected" ] || failed "expected '$expected', seen '$seen'"

# Nothing but two colons and at most four bytes of each of three instructions.
changed=$(cmp -l original.so library.so | wc -l)
if [ "$changed" -le 2 ] || [ "$changed" -gt 14 ]; then
    failed "$changed bytes were changed"
fi
[ "$(wc -c <original.so)" -eq "$(wc -c <library.so)" ] || failed "the size was changed"

refused "no such string" library.so "/bin/csh=$new_shell" "/usr/lib/locale=$new_place"
refused "not in RUNPATH" library.so "/bin/sh=/elsewhere"
refused "another order" library.so "/usr/lib/locale=$new_place" "/bin/sh=$new_shell"
refused "only the first of two" library.so "/bin/sh=$new_shell"
refused "no equals sign" library.so /bin/sh
refused "nothing to replace" library.so "=$new_shell"
refused "not a library" library.c "/bin/sh=$new_shell"
refused "no file" missing "/bin/sh=$new_shell"
refused "no arguments" library.so
refused "compiled into code" library.so "/copied/as/bytes=$new_shell" "/usr/lib/locale=$new_place"
grep 'in another way' stderr >grep.log || failed "compiled into code: $(cat stderr)"
for length in 0 3 63 64 200; do
    dd if=original.so of="short.$length" bs=1 count="$length" 2>dd.log
    refused "cut after $length bytes" "short.$length" "/bin/sh=$new_shell" "/usr/lib/locale=$new_place"
done

if [ "$failures" -gt 0 ]; then
    echo "libc-paths: $failures failures" >&2
    exit 1
fi
echo "libc-paths: all tests passed"
