#include "link.h"

#include <string.h>
#include <unistd.h>

/* Options of GNU ld whose value is the next argument, when it is not joined to
   the name by "=" (long) or at once (short).  What is read here for a value
   must be in the list, or `-o libx.so' would look like a library to link; an
   option that is missing costs at most one superfluous -rpath.  */
static const char *const with_value[] = {
    "A", "F", "G", "I", "L", "O", "P", "R", "T", "Tbss", "Tdata", "Tldata-segment",
    "Trodata-segment", "Ttext", "Ttext-segment", "Y", "a", "architecture", "assert",
    "audit", "auxiliary", "b", "c", "default-script", "defsym", "dT", "depaudit",
    "dynamic-linker", "dynamic-list", "e", "entry", "export-dynamic-symbol",
    "export-dynamic-symbol-list", "f", "filter", "fini", "format", "gpsize", "h",
    "image-base", "init", "just-symbols", "l", "library", "library-path", "m", "Map",
    "max-cache-size", "mri-script", "o", "oformat", "output", "package-metadata", "plugin",
    "plugin-opt", "require-defined", "retain-symbols-file", "rpath", "rpath-link", "script",
    "section-start", "soname", "sysroot", "u", "undefined", "version-script", "wrap", "y",
    "trace-symbol", "z",
};

static bool takes_value(const char *name)
{
    for (size_t i = 0; i < sizeof with_value / sizeof *with_value; i++)
        if (equal(name, with_value[i]))
            return true;
    return false;
}

/* One argument: an option, with its value if it has one, or a file.  */
struct argument {
    const char *name;  /* of the option, without dashes; NULL for a file */
    const char *value; /* of the option, or NULL; the file */
};

/* Take the argument at *I, move *I to the next.  */
static struct argument next_argument(const struct list *arguments, size_t *i)
{
    const char *text = arguments->items[(*i)++];
    if (text[0] != '-' || text[1] == '\0')
        return (struct argument){ NULL, text };

    bool long_only = text[1] == '-';
    const char *name = text + (long_only ? 2 : 1);

    /* A long option, as ld takes it: after one dash or two.  */
    const char *equals = strchr(name, '=');
    const char *option = equals == NULL ? name : substring(name, (size_t)(equals - name));
    bool is_short = option[1] == '\0';
    if (takes_value(option) && !(is_short && (long_only || equals != NULL))) {
        if (equals != NULL)
            return (struct argument){ option, equals + 1 };
        if (*i < arguments->count)
            return (struct argument){ option, arguments->items[(*i)++] };
        return (struct argument){ option, NULL };
    }

    /* A short option, its value joined to it.  Only these two matter here.  */
    if (!long_only && (name[0] == 'L' || name[0] == 'l'))
        return (struct argument){ substring(name, 1), name + 1 };
    /* The others with a joined value, so as not to read `-melf_x86_64' as a flag.  */
    if (!long_only && name[0] == 'm' && after_prefix(name, "melf") != NULL)
        return (struct argument){ "m", name + 1 };
    return (struct argument){ name, NULL };
}

/* Whether name is one of the names in the list that NULL ends.  */
static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names != NULL; names++)
        if (equal(name, *names))
            return true;
    return false;
}

static const char *const static_names[] = { "static", "Bstatic", "dn", "non_shared", NULL };
static const char *const dynamic_names[] = { "Bdynamic", "dy", "call_shared", NULL };
static const char *const shared_names[] = { "shared", "Bshareable", NULL };
static const char *const relocatable_names[] = { "r", "i", "relocatable", "Ur", NULL };
static const char *const pie_names[] = { "pie", "pic-executable", NULL };

bool is_shared_library(const char *file)
{
    const char *name = strrchr(file, '/');
    name = name == NULL ? file : name + 1;
    for (const char *suffix = name; (suffix = strstr(suffix, ".so")) != NULL; suffix += 3)
        if (suffix[3 + strspn(suffix + 3, ".0123456789")] == '\0')
            return true;
    return false;
}

static bool is_archive(const char *file)
{
    size_t length = strlen(file);
    return length > 2 && equal(file + length - 2, ".a");
}

static bool exists(const char *file)
{
    return access(file, F_OK) == 0;
}

static void add_library(struct link *link, const char *file)
{
    list_add(&link->libraries, file);
    if (is_shared_library(file))
        link->needs_loader = true;
}

/* Find library NAME of -l as the linker does: in each directory the shared one,
   unless only static ones are asked for, then the static one.  What is in no
   directory of -L is the linker's own affair: either it is an error, or comes
   from a directory compiled into the linker, and ours has none.  */
static void find_library(struct link *link, const char *name, bool only_static)
{
    for (size_t i = 0; i < link->search.count; i++) {
        const char *start = join(link->search.items[i], "/", NULL);
        if (name[0] == ':') {
            const char *file = join(start, name + 1, NULL);
            if (exists(file)) {
                add_library(link, file);
                return;
            }
            continue;
        }
        const char *shared = join(start, "lib", name, ".so", NULL);
        if (!only_static && exists(shared)) {
            add_library(link, shared);
            return;
        }
        const char *archive = join(start, "lib", name, ".a", NULL);
        if (exists(archive)) {
            add_library(link, archive);
            return;
        }
    }
}

/* The directory of an -L option: "=DIR" and "$SYSROOTDIR" are below --sysroot.  */
static const char *search_directory(const struct link *link, const char *value)
{
    const char *rest = after_prefix(value, "$SYSROOT");
    if (rest == NULL)
        rest = after_prefix(value, "=");
    return rest == NULL ? value : join(link->sysroot, rest, NULL);
}

/* All -L count for all -l, whatever their order, so they are read first.  */
static void read_search_path(struct link *link, const struct list *arguments)
{
    for (size_t i = 0; i < arguments->count;) {
        struct argument argument = next_argument(arguments, &i);
        if (argument.name != NULL && argument.value != NULL && equal(argument.name, "sysroot"))
            link->sysroot = argument.value;
    }
    for (size_t i = 0; i < arguments->count;) {
        struct argument argument = next_argument(arguments, &i);
        if (argument.name == NULL || argument.value == NULL)
            continue;
        if (equal(argument.name, "L") || equal(argument.name, "library-path"))
            list_add(&link->search, search_directory(link, argument.value));
    }
}

struct link read_link(const struct list *arguments)
{
    struct link link = { .sysroot = "" };
    read_search_path(&link, arguments);

    bool only_static = false;
    struct list pushed = { 0 }; /* --push-state: "s" for static, "" for not */
    for (size_t i = 0; i < arguments->count;) {
        struct argument argument = next_argument(arguments, &i);
        const char *name = argument.name, *value = argument.value;
        if (name == NULL) {
            if (is_shared_library(value) || is_archive(value))
                add_library(&link, value);
        } else if (value != NULL && (equal(name, "l") || equal(name, "library")))
            find_library(&link, value, only_static);
        else if (value != NULL && (equal(name, "dynamic-linker") || equal(name, "I")))
            link.loader = value;
        else if (value != NULL && equal(name, "m"))
            link.emulation = value;
        else if (is_one_of(name, static_names))
            only_static = true;
        else if (is_one_of(name, dynamic_names))
            only_static = false;
        else if (equal(name, "push-state"))
            list_add(&pushed, only_static ? "s" : "");
        else if (equal(name, "pop-state") && pushed.count > 0)
            only_static = pushed.items[--pushed.count][0] != '\0';
        else if (is_one_of(name, shared_names))
            link.shared = true;
        else if (is_one_of(name, relocatable_names))
            link.relocatable = true;
        else if (is_one_of(name, pie_names))
            link.needs_loader = true;
        else if (equal(name, "no-dynamic-linker"))
            link.without_loader = true;
    }
    return link;
}
