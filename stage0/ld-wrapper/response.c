#include "response.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* So many response files are an endless loop: two that name each other, say.
   The linker's own limit is the same.  */
enum { MOST_FILES = 2000 };

/* The contents of FILE, with a zero byte behind; NULL where it can't be read.  */
static char *contents(const char *file)
{
    FILE *stream = fopen(file, "rb");
    if (stream == NULL)
        return NULL;
    char *text = NULL;
    size_t length = 0, room = 0;
    do {
        room = room == 0 ? 4096 : 2 * room;
        text = allocate(text, room);
        length += fread(text + length, 1, room - length - 1, stream);
    } while (length == room - 1);
    bool unreadable = ferror(stream) != 0;
    fclose(stream);
    if (unreadable) { /* a directory, for instance */
        free(text);
        return NULL;
    }
    text[length] = '\0';
    return text;
}

/* Take one argument from *TEXT, and move *TEXT behind it; NULL at the end.  The
   argument is written over the text it came from, which is never shorter.  */
static const char *next_argument(char **text)
{
    char *from = *text;
    while (isspace((unsigned char)*from))
        from++;
    if (*from == '\0')
        return NULL;
    char *argument = from, *to = from, quote = '\0';
    for (; *from != '\0' && (quote != '\0' || !isspace((unsigned char)*from)); from++) {
        if (*from == '\\' && from[1] != '\0')
            *to++ = *++from;
        else if (*from == quote)
            quote = '\0';
        else if (quote == '\0' && (*from == '\'' || *from == '"'))
            quote = *from;
        else
            *to++ = *from;
    }
    *text = *from == '\0' ? from : from + 1;
    *to = '\0';
    return argument;
}

void add_expanded(struct list *list, const char *argument)
{
    static int files;
    char *text = argument[0] == '@' ? contents(argument + 1) : NULL;
    if (text == NULL) {
        list_add(list, argument);
        return;
    }
    if (++files > MOST_FILES)
        fail("more than %d response files, the last one %s; do they name each other?",
             MOST_FILES, argument);
    for (const char *part; (part = next_argument(&text)) != NULL;)
        add_expanded(list, part);
}
