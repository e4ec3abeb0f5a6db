/* counts.c - a program that allocates so many blocks as it is told, and says what the allocator's own statistics count.
 *
 * Commands are lines on standard input, each answered by its last line "ok":
 *   churn SIZE N     allocate and free a block N times      keep SIZE N     allocate N blocks
 *   threads T SIZE N churn in T threads, which end          fork SIZE N     churn in a child, which ends by exit(3)
 *   vfork SIZE N     churn in a child of vfork              spawn K SIZE N  K times: churn in a child that calls exec
 *   hold SIZE N      churn in a child of fork, which then rests
 *   clone            a child of the raw system call rests           release   the child that rests ends
 *   stats            "class IDX BLOCK_SIZE ALLOCS FREES MISSES" of each class that was used
 *   exec             become this program anew               exit, _exit, kill   end so
 * With arguments "SIZE N" it churns and ends. Reads and writes by system calls: nothing else here allocates. */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hakmem.h"

#define THREADS_MAX 64

struct churn {
    size_t size;
    unsigned long count;
};

static void say(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) < 0)
        _exit(1);
}

static void die(const char *what)
{
    say(STDERR_FILENO, what);
    _exit(1);
}

static void *take(size_t size)
{
    void *block = malloc(size);
    if (block == NULL)
        die("counts: no memory\n");
    return block;
}

static void *churn(void *arg)
{
    const struct churn *work = arg;
    for (unsigned long i = 0; i < work->count; i++)
        free(take(work->size));
    return NULL;
}

static void keep(const struct churn *work)
{
    for (unsigned long i = 0; i < work->count; i++)
        take(work->size);
}

static void churn_in_threads(unsigned long threads, struct churn *work)
{
    pthread_t ids[THREADS_MAX];
    if (threads > THREADS_MAX)
        die("counts: too many threads\n");
    for (unsigned long i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, churn, work) != 0)
            die("counts: no thread\n");
    for (unsigned long i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
}

static void await(pid_t child)
{
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        die("counts: a child failed\n");
}

static void churn_in_fork(struct churn *work)
{
    pid_t child = fork();
    if (child == 0) {
        churn(work);
        exit(0);
    }
    await(child);
}

/* In the parent's memory: what the child allocates is the parent's. */
static void churn_in_vfork(struct churn *work)
{
    pid_t child = vfork();
    if (child == 0) {
        churn(work);
        _exit(0);
    }
    await(child);
}

static void spawn(unsigned long times, const struct churn *work)
{
    char size[32], count[32];
    char *arguments[] = {"counts", size, count, NULL};
    snprintf(size, sizeof size, "%zu", work->size);
    snprintf(count, sizeof count, "%lu", work->count);
    for (unsigned long i = 0; i < times; i++) {
        pid_t child = vfork();
        if (child == 0) {
            execv("/proc/self/exe", arguments);
            _exit(1);
        }
        await(child);
    }
}

/* To look at them settles what the thread has counted. */
static void walk_stats(bool tell)
{
    struct hk_class_stats stats;
    char line[128];
    __typeof__(&hk_class_stats) read_class = (__typeof__(&hk_class_stats))dlsym(RTLD_DEFAULT, "hk_class_stats");
    if (read_class == NULL)
        die("counts: not on hakmem\n");
    for (unsigned class_idx = 0; read_class(class_idx, &stats, sizeof stats) == 0; class_idx++)
        if (tell && stats.allocs != 0) {
            snprintf(line, sizeof line, "class %u %u %llu %llu %llu\n", class_idx, stats.block_size,
                     (unsigned long long)stats.allocs, (unsigned long long)stats.frees,
                     (unsigned long long)stats.misses);
            say(STDOUT_FILENO, line);
        }
}

static pid_t held; /* the child that rests */
static int leash;  /* it ends when this end of a pipe does */

/* work: NULL: the child never enters the allocator, and by a raw clone no handler of fork does for it. */
static void hold(struct churn *work)
{
    int ready[2], end[2];
    char byte;
    if (pipe(ready) != 0 || pipe(end) != 0)
        die("counts: no pipe\n");
    held = work != NULL ? fork() : (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (held == 0) {
        close(end[1]);
        if (work != NULL) {
            churn(work);
            walk_stats(false);
        }
        _exit(write(ready[1], "", 1) == 1 && read(end[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(end[0]);
    close(ready[1]);
    leash = end[1];
    if (held < 0 || read(ready[0], &byte, 1) != 1)
        die("counts: no child\n");
    close(ready[0]);
}

static void release(void)
{
    close(leash);
    await(held);
}

static void obey(const char *line)
{
    char name[16] = "";
    unsigned long n[3] = {0, 0, 0};
    int words = sscanf(line, "%15s %lu %lu %lu", name, &n[0], &n[1], &n[2]);
    struct churn work = words == 4 ? (struct churn){n[1], n[2]} : (struct churn){n[0], n[1]};
    if (strcmp(name, "churn") == 0)
        churn(&work);
    else if (strcmp(name, "keep") == 0)
        keep(&work);
    else if (strcmp(name, "threads") == 0)
        churn_in_threads(n[0], &work);
    else if (strcmp(name, "fork") == 0)
        churn_in_fork(&work);
    else if (strcmp(name, "vfork") == 0)
        churn_in_vfork(&work);
    else if (strcmp(name, "spawn") == 0)
        spawn(n[0], &work);
    else if (strcmp(name, "stats") == 0)
        walk_stats(true);
    else if (strcmp(name, "hold") == 0)
        hold(&work);
    else if (strcmp(name, "clone") == 0)
        hold(NULL);
    else if (strcmp(name, "release") == 0)
        release();
    else if (strcmp(name, "exec") == 0)
        execl("/proc/self/exe", "counts", (char *)NULL);
    else if (strcmp(name, "exit") == 0)
        exit(0);
    else if (strcmp(name, "_exit") == 0)
        _exit(0);
    else if (strcmp(name, "kill") == 0)
        raise(SIGKILL);
    else
        die("counts: no such command\n");
    say(STDOUT_FILENO, "ok\n");
}

int main(int argc, char **argv)
{
    char line[128];
    size_t length = 0;
    if (argc == 3) {
        struct churn work = {strtoul(argv[1], NULL, 10), strtoul(argv[2], NULL, 10)};
        churn(&work);
        return 0;
    }
    say(STDOUT_FILENO, "ok\n");
    while (length < sizeof line && read(STDIN_FILENO, &line[length], 1) == 1) {
        if (line[length++] != '\n')
            continue;
        line[length - 1] = '\0';
        length = 0;
        obey(line);
    }
    return 0;
}
