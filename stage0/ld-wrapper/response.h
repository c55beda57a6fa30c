/* response.h -- response files: "@FILE" stands for the arguments in FILE.  */
#ifndef RESPONSE_H
#define RESPONSE_H

#include "text.h"

/* Add ARGUMENT to LIST or, where it is "@FILE" and FILE can be read, the
   arguments in FILE, which may name further files.  An "@FILE" that can not be
   read is an ordinary argument, as it is for the linker.

   In FILE, white space separates arguments; single and double quotes keep it
   (and each other) in; a backslash, inside quotes too, keeps the next
   character.  These are the rules of libiberty's expandargv.  */
void add_expanded(struct list *list, const char *argument);

#endif
