/* store.h -- which files are in the store, and which are impure.  */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>

/* The places that a linked library may come from, without a slash behind.  */
struct places {
    const char *store;     /* NIX_STORE, /gnu/store by default */
    const char *temporary; /* TMPDIR, /tmp by default */
    const char *build;     /* NIX_BUILD_TOP, NULL outside a build */
};

struct places places_from_environment(void);

/* Whether FILE is DIRECTORY or a file below it, by its name alone.  */
bool is_within(const char *file, const char *directory);

/* Follow FILE's symbolic links until there is a name in the store, and give
   that; NULL where there is none.  Thus a library in a profile counts as the
   one in the store that it stands for.  */
const char *store_file(const struct places *places, const char *file);

/* Whether FILE, its links followed, is in the store, in the build directory or
   among the temporary files; a relative name is the build's own.  */
bool is_pure(const struct places *places, const char *file);

#endif
