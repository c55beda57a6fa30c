#include "store.h"

#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Linux follows 40 links, FreeBSD 32.  */
enum { MOST_LINKS = 40 };

/* The directory in environment variable NAME, else FALLBACK.  */
static const char *directory_variable(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    if (value == NULL || value[0] == '\0')
        return fallback;
    size_t length = strlen(value);
    while (length > 1 && value[length - 1] == '/')
        length--;
    return substring(value, length);
}

struct places places_from_environment(void)
{
    return (struct places){
        .store = directory_variable("NIX_STORE", "/gnu/store"),
        .temporary = directory_variable("TMPDIR", "/tmp"),
        .build = directory_variable("NIX_BUILD_TOP", NULL),
    };
}

bool is_within(const char *file, const char *directory)
{
    const char *rest = after_prefix(file, directory);
    return rest != NULL && (rest[0] == '\0' || rest[0] == '/' || equal(directory, "/"));
}

/* Where the symbolic link FILE points, as seen from here; NULL for no link.  */
static const char *link_target(const char *file)
{
    for (size_t room = 256;; room *= 2) {
        char *target = allocate(NULL, room);
        ssize_t length = readlink(file, target, room);
        if (length < 0) {
            free(target);
            return NULL;
        }
        if ((size_t)length < room) {
            target[length] = '\0';
            return target[0] == '/' ? target : join(directory_of(file), "/", target, NULL);
        }
        free(target);
    }
}

/* Whether ".." occurs in FILE: "/gnu/store/../../usr/lib" is not in the store.  */
static bool has_parent(const char *file)
{
    for (const char *part = file; (part = strstr(part, "..")) != NULL; part += 2)
        if ((part == file || part[-1] == '/') && (part[2] == '\0' || part[2] == '/'))
            return true;
    return false;
}

/* FILE with the names "..", where it has any, resolved.  */
static const char *plain(const char *file)
{
    if (file[0] != '/' || !has_parent(file))
        return file;
    const char *name = strrchr(file, '/') + 1;
    char *directory = realpath(directory_of(file), NULL);
    if (directory == NULL)
        return file;
    return join(directory, "/", name, NULL);
}

const char *store_file(const struct places *places, const char *file)
{
    for (int i = 0; file != NULL && i < MOST_LINKS; i++) {
        file = plain(file);
        if (is_within(file, places->store))
            return file;
        file = link_target(file);
    }
    return NULL;
}

bool is_pure(const struct places *places, const char *file)
{
    for (int i = 0; i < MOST_LINKS; i++) {
        const char *target = link_target(file);
        if (target == NULL)
            break;
        file = target;
    }
    file = plain(file);
    return file[0] != '/' || is_within(file, places->store) ||
           is_within(file, places->temporary) ||
           (places->build != NULL && is_within(file, places->build));
}
