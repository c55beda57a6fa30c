// SPDX-License-Identifier: GPL-3.0-or-later
/* The program that the sandbox tests run inside: each argument is a command, its words separated by blanks,
   and each command prints one line (or several) about the world as seen from within. Linked statically, so
   that it runs in a sandbox that holds nothing else. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stddef.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

extern char **environ;

static void say(const char *what, int result)
{
    if (result < 0)
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: ok\n", what);
    fflush(stdout);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    char *names[4096];
    size_t count = 0, i;
    if (!directory) {
        say(path, -1);
        return;
    }
    while ((entry = readdir(directory)) && count < 4096)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            names[count++] = strdup(entry->d_name);
    closedir(directory);
    qsort(names, count, sizeof names[0], by_name);
    printf("%s:", path);
    for (i = 0; i < count; i++)
        printf(" %s", names[i]);
    printf("\n");
}

static void show(const char *path, const char *prefix)
{
    FILE *file = fopen(path, "r");
    char line[4096];
    if (!file) {
        say(path, -1);
        return;
    }
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, prefix, strlen(prefix)))
            fputs(line, stdout);
    fclose(file);
}

static int put(const char *path, int flags, const char *text)
{
    int file = open(path, flags | O_WRONLY, 0644);
    int result;
    if (file < 0)
        return -1;
    result = (int)write(file, text, strlen(text));
    close(file);
    return result;
}

/* Writes until that fails, and says how many MiB fitted and why no more. */
static void fill(const char *path)
{
    static char block[1 << 20];
    int file = open(path, O_WRONLY | O_CREAT, 0644);
    int written = 0;
    memset(block, 'x', sizeof block);
    if (file < 0) {
        say(path, -1);
        return;
    }
    while (written < 64 && write(file, block, sizeof block) == (ssize_t)sizeof block)
        written++;
    printf("%d MiB ", written);
    say("fill", written < 64 ? -1 : 0);
    close(file);
}

static int reach(const char *address, int port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
    int result, fd = socket(AF_INET, SOCK_STREAM, 0);
    inet_pton(AF_INET, address, &to.sin_addr);
    result = connect(fd, (struct sockaddr *)&to, sizeof to);
    close(fd);
    return result;
}

static int loopback(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t length = sizeof at;
    int result, fd = socket(AF_INET, SOCK_STREAM, 0);
    inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 1)
        || getsockname(fd, (struct sockaddr *)&at, &length))
        return -1;
    result = reach("127.0.0.1", ntohs(at.sin_port));
    close(fd);
    return result;
}

/* Leaves a process behind that heeds no polite signal and holds a lock on `path`; returns once it does. */
static void leave_daemon(const char *path)
{
    int ready[2];
    char byte;
    if (pipe(ready))
        return;
    if (!fork()) {
        setsid();
        if (fork())
            _exit(0);
        signal(SIGTERM, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        flock(open(path, O_RDWR | O_CREAT, 0644), LOCK_EX);
        if (write(ready[1], "r", 1) == 1)
            for (;;)
                pause();
    }
    if (read(ready[0], &byte, 1) == 1)
        printf("daemon: ok\n");
}

static void fork_many(int most)
{
    int made = 0;
    while (made < most) {
        pid_t child = fork();
        if (child < 0)
            break;
        if (!child) {
            pause();
            _exit(0);
        }
        made++;
    }
    printf("forks: %d\n", made);
}

static void descriptors(void)
{
    int fd;
    printf("descriptors:");
    for (fd = 0; fd < 4096; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf(" %d", fd);
    printf("\n");
}

static void limits(void)
{
    static const struct { const char *name; int resource; } all[] = {
        { "memory", RLIMIT_AS }, { "processes", RLIMIT_NPROC }, { "file-size", RLIMIT_FSIZE },
        { "open-files", RLIMIT_NOFILE }, { "core", RLIMIT_CORE },
    };
    size_t i;
    for (i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct rlimit limit;
        getrlimit(all[i].resource, &limit);
        printf("%s: %llu %llu\n", all[i].name, (unsigned long long)limit.rlim_cur,
               (unsigned long long)limit.rlim_max);
    }
}

static void addresses(void)
{
    int local;
    void *mapped = mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("addresses: %p %p %p\n", (void *)&local, mapped, sbrk(0));
}

static void note(int signal)
{
    (void)signal;
}

/* Waits for `signal` in the middle of a program: `begin` is printed once it would be noticed. */
static void await(int signal, const char *begin)
{
    struct sigaction action = { .sa_handler = note };
    sigset_t one, before;
    sigemptyset(&one);
    sigaddset(&one, signal);
    sigprocmask(SIG_BLOCK, &one, &before);
    sigaction(signal, &action, NULL);
    printf("%s\n", begin);
    fflush(stdout);
    sigsuspend(&before);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void size(void)
{
    struct winsize now;
    if (ioctl(0, TIOCGWINSZ, &now))
        say("size", -1);
    else
        printf("size: %d x %d\n", now.ws_col, now.ws_row);
}

/* A call by its number in the table of another architecture: i386's by the old gate, x32's by the bit in its number. */
static long call_i386(long number, long first, long second, long third)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third)
                     : "memory", "r8", "r9", "r10", "r11");
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

/* `word`s: a table (native, i386, x32), a number, and up to three arguments, all as strtol reads them. */
static void call(char **word)
{
    char name[64];
    long number = strtol(word[2], NULL, 0), argument[3] = { 0 }, result;
    int i;
    for (i = 0; i < 3 && word[3 + i]; i++)
        argument[i] = strtol(word[3 + i], NULL, 0);
    if (!strcmp(word[1], "i386"))
        result = call_i386(number, argument[0], argument[1], argument[2]);
    else
        result = syscall(!strcmp(word[1], "x32") ? number | 0x40000000 : number, argument[0], argument[1],
                         argument[2]);
    snprintf(name, sizeof name, "%s %s", word[1], word[2]);
    say(name, result < 0 ? -1 : 0);
}

/* A child made with clone and `flags`, which ends at once. */
static int child_with(unsigned long flags)
{
    long child = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    if (!child)
        _exit(0);
    return child < 0 ? -1 : (int)waitpid((pid_t)child, NULL, 0);
}

/* Sends to the abstract socket `name`. */
static int reach_abstract(const char *name, int type)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    int fd = socket(AF_UNIX, type, 0);
    strcpy(to.sun_path + 1, name);
    return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&to, length);
}

static void obey(char *command)
{
    char *word[8] = { 0 }, *rest = command;
    size_t count = 0;
    struct stat st;
    char text[PATH_MAX];
    while (count < 8 && (word[count] = strsep(&rest, " ")))
        count++;
#define IS(name) (!strcmp(word[0], name))
    if (IS("ls"))
        list(word[1]);
    else if (IS("cat"))
        show(word[1], "");
    else if (IS("status"))
        show("/proc/self/status", word[1]);
    else if (IS("write"))
        say(word[1], put(word[1], O_CREAT | O_TRUNC, "written\n"));
    else if (IS("append"))
        say(word[1], put(word[1], 0, "written\n"));
    else if (IS("mkdir"))
        say(word[1], mkdir(word[1], 0755));
    else if (IS("unlink"))
        say(word[1], unlink(word[1]));
    else if (IS("chmod"))
        say(word[1], chmod(word[1], 0777));
    else if (IS("readlink")) {
        ssize_t length = readlink(word[1], text, sizeof text - 1);
        if (length < 0)
            say(word[1], -1);
        else
            printf("%s -> %.*s\n", word[1], (int)length, text);
    } else if (IS("stat")) {
        if (stat(word[1], &st))
            say(word[1], -1);
        else
            printf("%s: %o %u %u\n", word[1], st.st_mode, st.st_uid, st.st_gid);
    } else if (IS("ids")) {
        gid_t groups[64];
        int count = getgroups(64, groups);

        printf("ids: %u %u %u %u groups", getuid(), geteuid(), getgid(), getegid());
        for (int i = 0; i < count; i++)
            printf(" %u", groups[i]);
        printf("\n");
    } else if (IS("processes"))
        printf("pid %d parent %d session %d\n", getpid(), getppid(), getsid(0) == getpid());
    else if (IS("hostname")) {
        gethostname(text, sizeof text);
        printf("hostname: %s", text);
        if (getdomainname(text, sizeof text) == 0)
            printf(" %s", text);
        printf("\n");
    } else if (IS("cwd"))
        printf("cwd: %s\n", getcwd(text, sizeof text));
    else if (IS("umask"))
        printf("umask: %o\n", umask(0));
    else if (IS("environment")) {
        char **variable;
        for (variable = environ; *variable; variable++)
            printf("%s\n", *variable);
    } else if (IS("descriptors"))
        descriptors();
    else if (IS("say-to"))
        say(word[1], (int)write(atoi(word[1]), word[2], strlen(word[2])));
    else if (IS("connect"))
        say("connect", reach(word[1], atoi(word[2])));
    else if (IS("loopback"))
        say("loopback", loopback());
    else if (IS("interfaces"))
        list("/proc/sys/net/ipv4/conf");
    else if (IS("daemon"))
        leave_daemon(word[1]);
    else if (IS("lock")) {
        say("lock", flock(open(word[1], O_RDWR | O_CREAT, 0644), LOCK_EX));
    } else if (IS("sleep"))
        usleep((useconds_t)atoi(word[1]) * 1000);
    else if (IS("allocate"))
        say("allocate", malloc((size_t)atoll(word[1]) << 20) ? 0 : -1);
    else if (IS("touch-memory")) {
        size_t size = (size_t)atoll(word[1]) << 20;
        volatile char *memory = malloc(size);
        for (size_t at = 0; memory && at < size; at += 4096)
            memory[at] = 1;
    } else if (IS("spin")) {
        struct rusage used;
        do
            getrusage(RUSAGE_SELF, &used);
        while (used.ru_utime.tv_sec * 1000 + used.ru_utime.tv_usec / 1000 < atoi(word[1]));
    } else if (IS("fork"))
        fork_many(atoi(word[1]));
    else if (IS("fill"))
        fill(word[1]);
    else if (IS("limits"))
        limits();
    else if (IS("processors")) {
        cpu_set_t set;
        if (sched_getaffinity(0, sizeof set, &set))
            say("processors", -1);
        else
            printf("processors: %d\n", CPU_COUNT(&set));
    }
    else if (IS("addresses"))
        addresses();
    else if (IS("new-user-namespace"))
        say("new-user-namespace", unshare(CLONE_NEWUSER));
    else if (IS("clone"))
        say("clone", child_with(strtoul(word[1], NULL, 0)));
    else if (IS("call"))
        call(word);
    else if (IS("type-in"))
        say("type-in", ioctl(0, TIOCSTI, word[1]));
    else if (IS("abstract"))
        say("abstract", reach_abstract(word[1], atoi(word[2])));
    else if (IS("pair")) {
        int ends[2];
        say("pair", socketpair(AF_UNIX, atoi(word[1]), 0, ends));
    } else if (IS("size"))
        size();
    else if (IS("await-size")) {
        size();
        await(SIGWINCH, "waiting");
        size();
    } else if (IS("await-interrupt")) {
        await(SIGINT, "waiting");
        printf("interrupted\n");
    } else if (IS("line")) {
        printf("line?\n");
        fflush(stdout);
        printf("line: %s", fgets(text, sizeof text, stdin) ? text : "none\n");
    } else if (IS("device")) {
        if (fstat(0, &st))
            say("device", -1);
        else
            printf("device: %lx\n", (unsigned long)st.st_rdev);
    }
    else if (IS("become-root"))
        say("become-root", setuid(0));
    else if (IS("kill"))
        say("kill", kill(atoi(word[1]), SIGKILL));
    else if (IS("trace"))
        say("trace", (int)ptrace(PTRACE_ATTACH, atoi(word[1]), NULL, NULL));
    else if (IS("terminal"))
        printf("terminal: %d %s\n", isatty(0), open("/dev/tty", O_RDWR) >= 0 ? "controlling" : "none");
    else if (IS("take-terminal")) {
        signal(SIGTTOU, SIG_IGN);
        say("take-terminal", tcsetpgrp(0, getpgrp()));
    } else if (IS("new-terminal")) {
        int master = posix_openpt(O_RDWR | O_NOCTTY);
        say("new-terminal", master < 0 || unlockpt(master) ? -1 : open(ptsname(master), O_RDWR | O_NOCTTY));
    } else if (IS("read")) {
        printf("read: %zd\n", read(0, text, sizeof text));
    } else if (IS("exit"))
        exit(atoi(word[1]));
    else if (IS("raise")) {
        raise(atoi(word[1]));
    } else {
        printf("what is %s?\n", word[0]);
        exit(99);
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int i;
    for (i = 1; i < argc; i++)
        obey(argv[i]);
    return 0;
}
