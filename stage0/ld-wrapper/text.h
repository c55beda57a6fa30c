/* text.h -- strings, and lists of them, that grow as needed.
   Memory is never given back: the program ends in an exec a moment later.  */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    const char **items; /* items[count] is NULL, once there is an item */
    size_t count;
    size_t room;
};

/* Print "ld-wrapper: error: MESSAGE" on stderr and exit with status 1.  */
_Noreturn void fail(const char *format, ...)
#if defined __GNUC__
    __attribute__((format(printf, 1, 2)))
#endif
    ;

/* malloc and realloc that end the program where there is no memory.  */
void *allocate(void *old, size_t size);

void list_add(struct list *list, const char *item);
bool list_has(const struct list *list, const char *item);

/* The LENGTH first characters of START, as a string of its own.  */
const char *substring(const char *start, size_t length);

/* The strings of a list that ends in NULL, one after the other.  */
const char *join(const char *first, ...);

/* What follows PREFIX in TEXT, or NULL where TEXT does not start with it.  */
const char *after_prefix(const char *text, const char *prefix);

bool equal(const char *a, const char *b);

/* FILE without its last component: "a/b" gives "a", "/b" gives "/", and "b" gives ".".  */
const char *directory_of(const char *file);

#endif
