/* in_child.h - what a unit test does to a process of its own: limits, closed descriptors, signals, ends. */
#ifndef HK_TESTS_IN_CHILD_H
#define HK_TESTS_IN_CHILD_H

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* TSan takes a child that shares memory for a fork, and needs memory itself: tests of the two are left to the other builds. */
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif

/* In a child: the line of the first claim that does not hold becomes the child's result. */
#define CLAIM(what)          \
    do {                     \
        if (!(what))         \
            return __LINE__; \
    } while (0)

/* What a child left behind: how it ended, what its body returned, and what it wrote to standard error. */
struct child_end {
    int status;
    int line; /* 0: every claim held; -1: the body did not come to its end */
    char text[65536];
};

static inline size_t read_all(int fd, char *buf, size_t size)
{
    size_t len = 0;
    for (ssize_t n; len < size && ((n = read(fd, buf + len, size - len)) > 0 || (n < 0 && errno == EINTR));)
        len += n > 0 ? (size_t)n : 0;
    return len;
}

/* Run body(arg) in a child. `text` is cut off at its size, the child is not held up by it as long as a pipe takes it. */
static inline void in_child(int (*body)(void *), void *arg, struct child_end *end)
{
    int err[2], result[2];
    memset(end, 0, sizeof *end);
    if (pipe(err) != 0 || pipe(result) != 0)
        abort();
    pid_t pid = fork();
    if (pid < 0)
        abort();
    if (pid == 0) {
        static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
        for (unsigned i = 0; i < sizeof fatal / sizeof fatal[0]; i++)
            signal(fatal[i], SIG_DFL); /* cmocka's handlers would go on with the next test */
        dup2(err[1], STDERR_FILENO);
        close(err[0]);
        close(err[1]);
        close(result[0]);
        int line = body(arg);
        if (write(result[1], &line, sizeof line) != sizeof line)
            _exit(2);
        _exit(line == 0 ? 0 : 1);
    }
    close(err[1]);
    close(result[1]);
    end->text[read_all(err[0], end->text, sizeof end->text - 1)] = '\0';
    if (read_all(result[0], (char *)&end->line, sizeof end->line) != sizeof end->line)
        end->line = -1;
    close(err[0]);
    close(result[0]);
    while (waitpid(pid, &end->status, 0) < 0 && errno == EINTR)
        continue;
}

/* The failing line, 0 when all is well; says it on standard error as well. */
static inline int claims_of(int (*body)(void *), void *arg)
{
    static struct child_end end;
    in_child(body, arg, &end);
    if (end.line != 0 || end.status != 0)
        fprintf(stderr, "in a child: line %d, status 0x%x\n%s", end.line, (unsigned)end.status, end.text);
    return end.line != 0 ? end.line : end.status;
}

/* body(arg) in a child that shares this process's memory, as that of vfork does. Returns how it ended. */
static inline int in_sharing_child(int (*body)(void *), void *arg)
{
    static _Alignas(16) char stack[262144];
    int status = -1;
    pid_t pid = clone(body, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, arg);
    if (pid < 0)
        abort();
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

/* Why a test does not run here: on standard error, and a failure where nothing may be skipped. For cmocka. */
#define SKIP_BECAUSE(reason)                                  \
    do {                                                      \
        const char *no_skip = getenv("HAKMEM_TESTS_NO_SKIP"); \
        if (no_skip != NULL && strcmp(no_skip, "1") == 0)     \
            fail_msg("must not be skipped: %s", reason);      \
        fprintf(stderr, "skipped: %s\n", reason);             \
        skip();                                               \
    } while (0)

#endif
