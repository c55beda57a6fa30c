/* link.h -- what a linker command line asks for.  */
#ifndef LINK_H
#define LINK_H

#include "text.h"

struct link {
    struct list search;      /* directories of -L, in order */
    struct list libraries;   /* files of the libraries that the linker will take */
    const char *loader;      /* of -dynamic-linker, or NULL */
    const char *emulation;   /* of -m, or NULL */
    const char *sysroot;     /* of --sysroot, "" by default */
    bool relocatable;        /* -r: makes an object file, not a program */
    bool shared;             /* -shared */
    bool without_loader;     /* --no-dynamic-linker */
    bool needs_loader;       /* a shared library is among the libraries, or -pie */
};

/* Read ARGUMENTS, response files expanded, without the program's name.  */
struct link read_link(const struct list *arguments);

/* Whether FILE's name is one of a shared library: libx.so, libx.so.1.2.  */
bool is_shared_library(const char *file);

#endif
