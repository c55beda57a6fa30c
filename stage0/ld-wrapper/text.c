#include "text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("ld-wrapper: error: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void *allocate(void *old, size_t size)
{
    void *new = realloc(old, size);
    if (new == NULL)
        fail("out of memory (%zu bytes)", size);
    return new;
}

void list_add(struct list *list, const char *item)
{
    if (list->room - list->count < 2) {
        if (list->room > SIZE_MAX / (2 * sizeof *list->items))
            fail("too many arguments");
        list->room = list->room == 0 ? 64 : 2 * list->room;
        list->items = allocate(list->items, list->room * sizeof *list->items);
    }
    list->items[list->count++] = item;
    list->items[list->count] = NULL;
}

bool list_has(const struct list *list, const char *item)
{
    for (size_t i = 0; i < list->count; i++)
        if (equal(list->items[i], item))
            return true;
    return false;
}

const char *substring(const char *start, size_t length)
{
    char *copy = allocate(NULL, length + 1);
    memcpy(copy, start, length);
    copy[length] = '\0';
    return copy;
}

const char *join(const char *first, ...)
{
    va_list parts;
    size_t length = strlen(first);
    va_start(parts, first);
    for (const char *part; (part = va_arg(parts, const char *)) != NULL;)
        length += strlen(part);
    va_end(parts);

    char *joined = allocate(NULL, length + 1);
    size_t end = strlen(first);
    memcpy(joined, first, end);
    va_start(parts, first);
    for (const char *part; (part = va_arg(parts, const char *)) != NULL;) {
        size_t size = strlen(part);
        memcpy(joined + end, part, size);
        end += size;
    }
    va_end(parts);
    joined[end] = '\0';
    return joined;
}

const char *after_prefix(const char *text, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

bool equal(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

const char *directory_of(const char *file)
{
    const char *slash = strrchr(file, '/');
    if (slash == NULL)
        return ".";
    if (slash == file)
        return "/";
    return substring(file, (size_t)(slash - file));
}
