// SPDX-License-Identifier: GPL-3.0-or-later
/* A builder for tests: static, so that it runs where there is nothing else. Each argument is one command, its words
 * separated by spaces; the first that fails ends the program with status 1. */

/* For F_SETPIPE_SZ and O_DIRECT. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "toy: cannot %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

/* `$NAME' stands for a variable, as long as it is at the beginning of a word and its end a slash or the word's. */
static char *expand(char *word)
{
    static char buffers[4][4096];
    static int next;
    if (*word != '$')
        return word;
    char *buffer = buffers[next++ % 4];
    char *slash = strchr(word, '/');
    char name[128];
    size_t length = slash ? (size_t)(slash - word - 1) : strlen(word) - 1;
    snprintf(name, sizeof name, "%.*s", (int)length, word + 1);
    const char *value = getenv(name);
    snprintf(buffer, 4096, "%s%s", value ? value : "", slash ? slash : "");
    return buffer;
}

static void write_file(const char *path, const char *text, int flags)
{
    int file = open(path, O_WRONLY | O_CREAT | flags, 0644);
    if (file < 0)
        fail("create", path);
    if (write(file, text, strlen(text)) != (ssize_t)strlen(text) || close(file) != 0)
        fail("write", path);
}

static void copy_file(const char *from, const char *to)
{
    char buffer[65536];
    ssize_t count;
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    if (in < 0)
        fail("open", from);
    if (out < 0)
        fail("create", to);
    while ((count = read(in, buffer, sizeof buffer)) > 0)
        if (write(out, buffer, count) != count)
            fail("write", to);
}

/* Writes zeros until nothing more goes in. */
static void fill(const char *path)
{
    static char zeros[1 << 20];
    int file = open(path, O_WRONLY | O_CREAT, 0644);
    if (file < 0)
        fail("create", path);
    while (write(file, zeros, sizeof zeros) > 0)
        ;
    fail("write", path);
}

static void make_socket(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    /* Socket addresses are short, and paths in the store are not. */
    if (chdir(path) != 0)
        fail("enter", path);
    strcpy(address.sun_path, "socket");
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("bind", path);
}

static void connect_to(const char *host, int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    inet_pton(AF_INET, host, &address.sin_addr);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect to", host);
}

/* A process of its own session that keeps the output open, and a lock on a file. */
/* Fails where an earlier build has changed the job server's pipe, and changes it where `change' is set. */
static void check_pipe(int change)
{
#ifdef F_SETPIPE_SZ
    for (int end = 3; end <= 4; end++) {
        int flags = fcntl(end, F_GETFL);
        if (flags < 0 || flags & O_DIRECT || fcntl(end, F_GETPIPE_SZ) >= 1 << 20) {
            fprintf(stderr, "toy: the job server's pipe is not as new\n");
            exit(1);
        }
        if (change && fcntl(end, F_SETFL, flags | O_DIRECT) != 0)
            fail("change", "the job server");
    }
    if (change && fcntl(4, F_SETPIPE_SZ, 1 << 20) < 0)
        fail("enlarge", "the job server");
#else
    (void)change;
#endif
}

static void start_daemon(const char *path)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int ready[2];
    char byte;
    if (pipe(ready) != 0)
        fail("make a pipe for", path);
    if (fork() == 0) {
        setsid();
        signal(SIGTERM, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        int file = open(path, O_RDWR | O_CREAT, 0644);
        if (file < 0 || fcntl(file, F_SETLK, &lock) != 0)
            fail("lock", path);
        close(ready[1]);
        for (;;)
            pause();
    }
    close(ready[1]);
    while (read(ready[0], &byte, 1) > 0)
        ;
}

static void run(char *command)
{
    char *word[4] = { 0 };
    char *rest = command;
    for (int n = 0; n < 3 && rest; n++)
        word[n] = expand(strsep(&rest, " "));
    /* The last word is the rest of the line. */
    if (rest && word[2]) {
        static char text[4096];
        snprintf(text, sizeof text, "%s %s", word[2], rest);
        word[2] = text;
    }
    const char *verb = word[0];
    if (!strcmp(verb, "say")) {
        printf("%s%s%s\n", word[1] ? word[1] : "", word[2] ? " " : "", word[2] ? word[2] : "");
        fflush(stdout);
    } else if (!strcmp(verb, "write"))
        write_file(word[1], word[2] ? word[2] : "", O_TRUNC);
    else if (!strcmp(verb, "append"))
        write_file(word[1], word[2] ? word[2] : "", O_APPEND);
    else if (!strcmp(verb, "copy"))
        copy_file(word[1], word[2]);
    else if (!strcmp(verb, "mkdir")) {
        if (mkdir(word[1], 0755) != 0)
            fail("create", word[1]);
    } else if (!strcmp(verb, "link")) {
        if (symlink(word[2], word[1]) != 0)
            fail("link", word[1]);
    } else if (!strcmp(verb, "chmod")) {
        if (chmod(word[1], strtol(word[2], NULL, 8)) != 0)
            fail("chmod", word[1]);
    } else if (!strcmp(verb, "fifo")) {
        if (mkfifo(word[1], 0644) != 0)
            fail("make the fifo", word[1]);
    } else if (!strcmp(verb, "device")) {
        if (mknod(word[1], S_IFCHR | 0644, 0x103) != 0)
            fail("make the device", word[1]);
    } else if (!strcmp(verb, "socket"))
        make_socket(word[1]);
    else if (!strcmp(verb, "fill"))
        fill(word[1]);
    else if (!strcmp(verb, "sparse")) {
        /* A file of so many bytes that takes no room. */
        write_file(word[1], "", O_TRUNC);
        if (truncate(word[1], atoll(word[2])) != 0)
            fail("truncate", word[1]);
    } else if (!strcmp(verb, "connect"))
        connect_to(word[1], atoi(word[2]));
    else if (!strcmp(verb, "daemon"))
        start_daemon(word[1]);
    else if (!strcmp(verb, "sleep"))
        usleep(atol(word[1]) * 1000);
    else if (!strcmp(verb, "flood"))
        for (;;)
            puts("and on and on and on");
    else if (!strcmp(verb, "close")) {
        close(1);
        close(2);
    } else if (!strcmp(verb, "tokens")) {
        /* Puts tokens into the job server that were never taken out. */
        for (int n = atoi(word[1]); n > 0; n--)
            if (write(4, "+", 1) != 1)
                fail("write", "the job server");
    } else if (!strcmp(verb, "pipe")) {
        check_pipe(word[1] && !strcmp(word[1], "change"));
    } else if (!strcmp(verb, "take")) {
        char byte;
        for (int n = atoi(word[1]); n > 0; n--)
            if (read(3, &byte, 1) != 1)
                fail("read", "the job server");
    } else if (!strcmp(verb, "burn")) {
        for (clock_t end = clock() + atol(word[1]) * (CLOCKS_PER_SEC / 1000); clock() < end;)
            ;
    } else if (!strcmp(verb, "signal")) {
        kill(getpid(), atoi(word[1]));
    } else if (!strcmp(verb, "machine")) {
        struct utsname name;
        uname(&name);
        write_file(word[1], name.machine, O_TRUNC);
    } else if (!strcmp(verb, "exit"))
        exit(atoi(word[1]));
    else {
        fprintf(stderr, "toy: what is `%s'?\n", verb);
        exit(2);
    }
}

int main(int count, char **arguments)
{
    for (int n = 1; n < count; n++)
        run(arguments[n]);
    return 0;
}
