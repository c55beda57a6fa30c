/* ld-wrapper -- the linker, for a system whose libraries are in a store.

   A program must find its libraries by itself: there is no directory that the
   loader could search.  So this program looks at the linker's command line and
   runs the real linker with additions:

     - `-rpath DIRECTORY' for every shared library in the store that is named by
       -l or by its file name.  The alternatives are worse: LD_RUN_PATH or
       -rpath for every -L would name all inputs of a build, needed or not; and
       a spec in gcc does not see the directories of LIBRARY_PATH.
     - `-dynamic-linker LOADER' for a program that has a loader outside of the
       store, or none.

   And it refuses libraries that are neither in the store nor the build's own.

   The behaviour is the one of Guix's ld-wrapper, with its variables:
     NIX_STORE, TMPDIR, NIX_BUILD_TOP       see store.h
     GUIX_LD_WRAPPER_ALLOW_IMPURITIES       yes or no (y, n, true, false, t, f, 1, 0);
                                            unset: no in a build, otherwise yes
     GUIX_LD_WRAPPER_DISABLE_RPATH          set: add no -rpath
     GUIX_LD_WRAPPER_DEBUG                  set: tell on stderr what is run

   REAL_LD and LOADER are file names in the store; EMULATION is the name of the
   linker's emulation that LOADER is for.  They are defined by the compiler's
   command line.  */

#include "link.h"
#include "response.h"
#include "store.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static bool allow_impurities(const struct places *places)
{
    static const char *const yes[] = { "yes", "y", "true", "t", "1" };
    static const char *const no[] = { "no", "n", "false", "f", "0" };
    const char *value = getenv("GUIX_LD_WRAPPER_ALLOW_IMPURITIES");
    if (value == NULL)
        return places->build == NULL;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcasecmp(value, yes[i]) == 0)
            return true;
        if (strcasecmp(value, no[i]) == 0)
            return false;
    }
    fail("GUIX_LD_WRAPPER_ALLOW_IMPURITIES is \"%s\"; it must be \"yes\" or \"no\"", value);
}

/* Add -rpath for the shared libraries of the store, once for each directory,
   and refuse the impure libraries.  */
static void add_rpaths(struct list *additions, const struct link *link,
                       const struct places *places, bool allow)
{
    bool disabled = getenv("GUIX_LD_WRAPPER_DISABLE_RPATH") != NULL;
    struct list directories = { 0 };
    for (size_t i = 0; i < link->libraries.count; i++) {
        const char *file = link->libraries.items[i];
        const char *in_store = file[0] == '/' ? store_file(places, file) : NULL;
        if (in_store == NULL) {
            if (!allow && !is_pure(places, file))
                fail("refusing to link with %s, which is outside of %s and of the build; "
                     "add the package it belongs to to the inputs, or set "
                     "GUIX_LD_WRAPPER_ALLOW_IMPURITIES=yes",
                     file, places->store);
            continue;
        }
        const char *directory = directory_of(in_store);
        /* With -r nothing is resolved yet: the later link adds the -rpath.  */
        if (disabled || link->relocatable || !is_shared_library(file) ||
            list_has(&directories, directory))
            continue;
        list_add(&directories, directory);
        list_add(additions, "-rpath");
        list_add(additions, directory);
    }
}

/* Set the loader of a program that is linked dynamically, unless it has one of
   the store or, as in a C library's own tests, one of the build.  */
static void add_loader(struct list *additions, const struct link *link,
                       const struct places *places, bool allow)
{
    if (link->relocatable || link->shared || link->without_loader || !link->needs_loader)
        return;
    /* Another emulation is another machine, with another loader.  */
    if (link->emulation != NULL && !equal(link->emulation, EMULATION))
        return;
    if (link->loader != NULL && (allow || is_pure(places, link->loader)))
        return;
    list_add(additions, "-dynamic-linker");
    list_add(additions, LOADER);
}

/* Run the real linker with the arguments as they were given (response files may
   be too long for a command line) and the additions.  */
_Noreturn static void run(char **argv, const struct list *additions)
{
    struct list command = { 0 };
    const char *name = strrchr(REAL_LD, '/');
    list_add(&command, name == NULL ? REAL_LD : name + 1);
    for (char **argument = argv + 1; *argument != NULL; argument++)
        list_add(&command, *argument);
    for (size_t i = 0; i < additions->count; i++)
        list_add(&command, additions->items[i]);

    if (getenv("GUIX_LD_WRAPPER_DEBUG") != NULL) {
        fprintf(stderr, "ld-wrapper: invoking %s with", REAL_LD);
        for (size_t i = 1; i < command.count; i++)
            fprintf(stderr, " \"%s\"", command.items[i]);
        fputc('\n', stderr);
    }

    /* execv does not write to the strings; its type is older than const.  */
    union {
        const char **constant;
        char **plain;
    } arguments = { .constant = command.items };
    execv(REAL_LD, arguments.plain);
    fail("cannot run %s: %s", REAL_LD, strerror(errno));
}

int main(int argc, char **argv)
{
    struct list arguments = { 0 };
    for (int i = 1; i < argc; i++)
        add_expanded(&arguments, argv[i]);

    struct places places = places_from_environment();
    bool allow = allow_impurities(&places);
    struct link link = read_link(&arguments);
    struct list additions = { 0 };
    add_rpaths(&additions, &link, &places, allow);
    add_loader(&additions, &link, &places, allow);
    run(argv, &additions);
}
