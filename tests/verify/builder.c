// SPDX-License-Identifier: GPL-3.0-or-later
/* The only program of the test's seed: called as a shell with the phases, it runs the recipe's own phases, one command a
 * line, whose words are separated by spaces. `$NAME' in a word stands for a variable. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "builder: cannot %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

static void expand(const char *text, char *into, size_t size)
{
    size_t length = 0;
    while (*text && length + 1 < size) {
        if (*text != '$') {
            into[length++] = *text++;
            continue;
        }
        char name[64];
        size_t count = strspn(++text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
        snprintf(name, sizeof name, "%.*s", (int)count, text);
        text += count;
        const char *value = getenv(name);
        length += snprintf(into + length, size - length, "%s", value ? value : "");
    }
    into[length < size ? length : size - 1] = 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "a");
    if (!file || fprintf(file, "%s\n", text) < 0 || fclose(file) != 0)
        fail("write", path);
}

/* Bytes that are filled bit by bit, from the lowest. */
struct bits {
    FILE *file;
    unsigned byte, count;
};

static void put_bit(struct bits *bits, unsigned bit)
{
    bits->byte |= (bit & 1) << bits->count;
    if (++bits->count == 8) {
        putc((int)bits->byte, bits->file);
        bits->byte = bits->count = 0;
    }
}

static void put_number(struct bits *bits, unsigned long number, int bytes)
{
    for (int bit = 0; bit < 8 * bytes; bit++)
        put_bit(bits, number >> bit & 1);
}

/* Writes a text of ASCII as gzip could (RFC 1952): one block of letters, none of them repeated, in the fixed code of RFC 1951,
 * in which a search for bytes does not find them. */
static void write_gzip(const char *path, const char *text)
{
    static const unsigned char header[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
    unsigned long sum = 0xffffffff;
    struct bits bits = {fopen(path, "w"), 0, 0};
    if (!bits.file)
        fail("create", path);
    fwrite(header, 1, sizeof header, bits.file);
    put_bit(&bits, 1);
    put_bit(&bits, 1);
    put_bit(&bits, 0);
    for (const char *letter = text; *letter; letter++) {
        unsigned code = 0x30 + (unsigned char)*letter;
        for (int bit = 7; bit >= 0; bit--)
            put_bit(&bits, code >> bit);
        sum ^= (unsigned char)*letter;
        for (int bit = 0; bit < 8; bit++)
            sum = sum >> 1 ^ (sum & 1 ? 0xedb88320 : 0);
    }
    for (int bit = 0; bit < 7 || bits.count; bit++)
        put_bit(&bits, 0);
    put_number(&bits, sum ^ 0xffffffff, 4);
    put_number(&bits, strlen(text), 4);
    if (fclose(bits.file) != 0)
        fail("write", path);
}

static void copy_file(const char *from, const char *to)
{
    char buffer[65536];
    ssize_t count;
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    if (in < 0 || out < 0)
        fail("copy", from);
    while ((count = read(in, buffer, sizeof buffer)) > 0)
        if (write(out, buffer, count) != count)
            fail("write", to);
}

/* Writes the names in `directory' as it lists them, one a line. */
static void list(const char *path, const char *directory)
{
    DIR *listing = opendir(directory);
    struct dirent *entry;
    if (!listing)
        fail("list", directory);
    while ((entry = readdir(listing)))
        if (*entry->d_name != '.')
            write_file(path, entry->d_name);
    closedir(listing);
}

/* Writes zeros until no more fit. */
static void fill(const char *path)
{
    static char zeros[65536];
    int file = open(path, O_WRONLY | O_CREAT, 0644);
    while (file >= 0 && write(file, zeros, sizeof zeros) > 0)
        ;
    fail("write", path);
}

static void run(char *line)
{
    char verb[4096] = "", path[4096] = "", text[4096] = "", expanded[4096];
    if (sscanf(line, "%4095s %4095s %4095[^\n]", verb, path, text) < 1 || *verb == '#' || *verb == ':')
        return;
    expand(path, expanded, sizeof expanded);
    strcpy(path, expanded);
    expand(text, expanded, sizeof expanded);
    strcpy(text, expanded);
    if (!strcmp(verb, "write"))
        write_file(path, text);
    else if (!strcmp(verb, "say")) {
        printf("%s %s\n", path, text);
        fflush(stdout);
    }
    else if (!strcmp(verb, "gzip"))
        write_gzip(path, text);
    else if (!strcmp(verb, "mkdir")) {
        if (mkdir(path, 0755) != 0)
            fail("create", path);
    } else if (!strcmp(verb, "copy"))
        copy_file(path, text);
    else if (!strcmp(verb, "hostname")) {
        gethostname(text, sizeof text);
        write_file(path, text);
    } else if (!strcmp(verb, "user")) {
        sprintf(text, "built by user %d", (int)getuid());
        write_file(path, text);
    } else if (!strcmp(verb, "time")) {
        sprintf(text, "made at %lld", (long long)time(NULL));
        write_file(path, text);
    } else if (!strcmp(verb, "temporary")) {
        char name[] = "/tmp/ccXXXXXX";
        int file = mkstemp(name);
        if (file < 0)
            fail("create", name);
        close(file);
        write_file(path, name);
    } else if (!strcmp(verb, "list"))
        list(path, text);
    else if (!strcmp(verb, "fill")) {
        if (*text)
            fill(path);
    } else if (!strcmp(verb, "sparse")) {
        /* A file of so many bytes that takes no room. */
        write_file(path, "");
        if (truncate(path, atoll(text)) != 0)
            fail("truncate", path);
    } else if (!strcmp(verb, "chmod")) {
        if (chmod(path, strtol(text, NULL, 8)) != 0)
            fail("chmod", path);
    } else if (!strcmp(verb, "umask")) {
        mode_t mask = umask(0);
        umask(mask);
        sprintf(text, "umask %03o", (unsigned)mask);
        write_file(path, text);
    } else if (!strcmp(verb, "sleep"))
        usleep(atol(path) * 1000);
    else if (!strcmp(verb, "fail"))
        exit(1);
    else {
        fprintf(stderr, "builder: what is `%s'?\n", verb);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    char line[8192];
    const char *path = getenv("recipePhases");
    /* Outside of builds it is given a script. */
    if (!path && argc > 1)
        path = argv[1];
    FILE *phases = path ? fopen(path, "r") : NULL;
    /* Users type at a shell. */
    if (argc > 1 && !strcmp(argv[1], "-i"))
        phases = stdin;
    if (!phases)
        fail("open", path ? path : "the phases, which are not named");
    while (fgets(line, sizeof line, phases))
        run(line);
    return 0;
}
