/* scenario.c - makes a probe fire:  scenario PROBE.  For some probes the caller sets a limit or HAKMEM_CONF besides: see
 * probes_live.bats. Facts that the check needs are lines on standard output, `NAME NUMBER...`. */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/blocks.h"

void free_sized(void *ptr, size_t size) __attribute__((weak)); /* C23: libc may lack it, the allocator does not */

/* Allocates nothing, whatever libc's printf does. */
static void fact(const char *name, int count, ...)
{
    char line[256];
    int at = snprintf(line, sizeof line, "%s", name);
    va_list numbers;
    va_start(numbers, count);
    for (int i = 0; i < count; i++)
        at += snprintf(line + at, sizeof line - (size_t)at, " %llu", va_arg(numbers, unsigned long long));
    va_end(numbers);
    line[at++] = '\n';
    if (write(STDOUT_FILENO, line, (size_t)at) != at)
        _exit(9);
}

#define NUMBER(x) ((unsigned long long)(uintptr_t)(x))

static void expect(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "scenario: %s\n", what);
        _exit(8);
    }
}

static void take_and_give(size_t count, size_t size)
{
    give(take(count, size), count);
}

static void fast_miss(void)
{
    take(1000, 40);
    take(5, 100 * KIB);
    take(3, 3 * MIB);
    fact("taken", 2, 1000ull, 40ull);
}

static void cache_report(void)
{
    for (int i = 0; i < 200; i++) {
        take_and_give(300, 64);
        take_and_give(100, 700);
        usleep(1000);
    }
}

static void *short_life(void *arg)
{
    take_and_give(10, 512);
    return arg;
}

static int cached_pipe[2];

/* Keeps free blocks in its cache while the main thread forks. */
static void *sleeper(void *arg)
{
    char byte = 0;
    take_and_give(30, 2 * KIB);
    expect(write(cached_pipe[1], &byte, 1) == 1, "pipe");
    pause();
    return arg;
}

static void tls_drain(void)
{
    pthread_t thread;
    char byte;
    take_and_give(200000, 64);
    pthread_create(&thread, NULL, short_life, NULL);
    pthread_join(thread, NULL);
    take_and_give(50, 256);
    malloc_trim(0);
    take_and_give(20, 1024);
    for (int i = 0; i < 100; i++) { /* HAKMEM_CONF=decay_ms:10 */
        take_and_give(300, 16);
        usleep(1000);
    }
    expect(pipe(cached_pipe) == 0, "pipe");
    pthread_create(&thread, NULL, sleeper, NULL);
    expect(read(cached_pipe[0], &byte, 1) == 1, "pipe");
    pid_t pid = fork();
    if (pid == 0) {
        take_and_give(10, 16);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

static void slab_acquire(void)
{
    take(200, 8 * KIB);
    take(20, 20 * KIB);
    take(10, 300 * KIB);
}

static void slab_release(void)
{
    take_and_give(400, 8 * KIB);
    take_and_give(40, 20 * KIB);
    take_and_give(10, 300 * KIB);
    malloc_trim(0);
}

static void superslab_map(void)
{
    take(12 * KIB, KIB);
}

static void superslab_unmap(void)
{
    take_and_give(40 * KIB, KIB);
    malloc_trim(0);
}

/* Let the process have `bytes` of data more than it has. */
static void leave_data(size_t bytes)
{
    char status[4096];
    int fd = open("/proc/self/status", O_RDONLY);
    ssize_t length = read(fd, status, sizeof status - 1);
    close(fd);
    status[length < 0 ? 0 : length] = '\0';
    const char *line = strstr(status, "VmData:");
    expect(line != NULL, "no VmData");
    struct rlimit limit = {strtoull(line + 7, NULL, 10) * KIB + bytes, RLIM_INFINITY};
    expect(setrlimit(RLIMIT_DATA, &limit) == 0, "no limit");
}

static void shared_fail(void)
{
    const char *mode = getenv("SCENARIO_MODE");
    if (mode != NULL && strcmp(mode, "kernel") == 0) {
        take(100, KIB);
        leave_data(MIB + MIB / 2); /* too little for a SuperSlab, enough for chunks */
        size_t count = 0;
        while (malloc(KIB) != NULL)
            count++;
        expect(count < 5000, "more memory than the limit allows");
        return;
    }
    take(4000, KIB);
    take(200, 48);
    take(150, 12 * KIB);
}

static void legacy_alloc(void)
{
    take(4000, KIB);
    take(150, 12 * KIB);
}

static void legacy_free(void)
{
    take_and_give(4000, KIB);
    take_and_give(150, 12 * KIB);
    malloc_trim(0);
}

/* A kernel that has no mapping left to give: neighbours of different protection don't merge. */
static void exhaust_mappings(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), count = (size_t)1 << 20;
    char *pages = mmap(NULL, count * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    expect(pages != MAP_FAILED, "no pages");
    size_t i = 1;
    while (i < count && mprotect(pages + i * page, page, PROT_READ) == 0)
        i += 2;
    expect(i < count, "max_map_count is above 2^20");
    for (i = 0; i < 8; i++)
        if (mmap(NULL, page, i % 2 == 0 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
            return;
    expect(false, "there is always one more mapping");
}

static void ace_fail(void)
{
    void *volatile small = malloc(100);
    expect(small != NULL, "no block");
    const char *mode = getenv("SCENARIO_MODE");
    if (mode == NULL)
        mode = "";
    if (strcmp(mode, "map_count") == 0)
        exhaust_mappings();
    if (mode[0] == '\0')
        take(1, 20 * MIB); /* HAKMEM_CONF=ace_limit:16m */
    else if (strcmp(mode, "exhaustion") == 0)
        take(20, 200 * KIB); /* HAKMEM_CONF=region:0 */
    else
        expect(malloc((size_t)1 << (strcmp(mode, "overcommit") == 0 ? 46 : 30)) == NULL, "a block of absurd size");
}

static void ace_adapt(void)
{
    for (int i = 0; i < 60; i++) {
        take_and_give(20, 100 * KIB);
        take_and_give(9, 5 * MIB);
    }
    for (int i = 0; i < 3000; i++)
        take_and_give(2, 100 * KIB);
}

static void os_map(void)
{
    take(6000, KIB); /* HAKMEM_CONF=superslabs:2 */
    void *block = malloc(3 * MIB);
    block = realloc(block, 30 * MIB);
    expect(block != NULL, "no block");
    free(block);
}

static void os_unmap(void)
{
    take_and_give(30 * KIB, KIB); /* HAKMEM_CONF=superslabs:6 */
    take_and_give(10, 3 * MIB);
    void *block = malloc(30 * MIB);
    block = realloc(block, 3 * MIB);
    expect(block != NULL, "no block");
    free(block);
    malloc_trim(0);
    const struct rlimit limit = {(rlim_t)1 << 30, RLIM_INFINITY}; /* less than is reserved */
    expect(setrlimit(RLIMIT_AS, &limit) == 0, "no limit");
    block = malloc(32 * MIB); /* the unused region is given up for it */
    expect(block != NULL, "no room was made");
    free(block);
    malloc_trim(0);
}

static void os_purge(void)
{
    take_and_give(4 * KIB, KIB);
    malloc_trim(0);
    take_and_give(100, 64 * KIB);
    malloc_trim(0);
}

static void alloc_fail(void)
{
    const char *mode = getenv("SCENARIO_MODE");
    if (mode != NULL && strcmp(mode, "limit") == 0) {
        expect(malloc((size_t)1 << 33) == NULL, "8 GiB beyond the limit");
        expect(calloc((size_t)1 << 20, (size_t)1 << 13) == NULL, "8 GiB beyond the limit");
        return;
    }
    expect(malloc(PTRDIFF_MAX + (size_t)1) == NULL, "malloc(PTRDIFF_MAX + 1)");
    void *block = malloc(100);
    expect(realloc(block, SIZE_MAX) == NULL, "realloc to SIZE_MAX");
    free(block);
}

/* One kind of misuse a child; kinds as in misuse.def. */
enum {
    DOUBLE_FREE,
    INTERIOR_FREE,
    FOREIGN_FREE,
    FREED_REALLOC,
    FOREIGN_REALLOC,
    WRONG_SIZE,
    CORRUPT_LIST,
    ORDINARY_KINDS
};
enum { OVERFLOW = ORDINARY_KINDS, WRITE_AFTER_FREE, USE_AFTER_FREE, UNDERFLOW, KINDS };

/* The settings under which the rest is caught. */
static const char *settings_for(int kind)
{
    return kind == OVERFLOW || kind == WRITE_AFTER_FREE ? "harden:1" : "guard:1";
}

/* Between guard pages; at_start: a guard is right before it. */
static char *guarded_block(size_t size, bool at_start)
{
    for (;;) {
        char *block = malloc(size);
        if (malloc_usable_size(block) == size && (!at_start || (uintptr_t)block % 65536 == 0))
            return block;
        if (malloc_usable_size(block) != size)
            free(block);
    }
}

static const char *program; /* by which to start once more */

static void commit_misuse(int kind)
{
    static char foreign[64] __attribute__((aligned(16)));
    size_t size = 48;
    char *volatile block = malloc(40), *victim = block;
    void **blocks;
    switch (kind) {
    case DOUBLE_FREE:
    case FREED_REALLOC:
        free(block);
        break;
    case INTERIOR_FREE:
        victim = block + 16;
        break;
    case FOREIGN_FREE:
    case FOREIGN_REALLOC:
        victim = foreign;
        size = 0;
        break;
    case CORRUPT_LIST:
        size = 6 * KIB;
        blocks = take(12, size);
        victim = blocks[5];
        for (int i = 0; i < 12; i++)
            free(blocks[i]);
        memset(victim, 0x41, 64); /* a write to a freed block */
        break;
    case OVERFLOW:
        block[40] = 0;
        break;
    case WRITE_AFTER_FREE:
        free(block);
        block[0] = 1;
        break;
    case USE_AFTER_FREE:
    case UNDERFLOW:
        size = 40;
        victim = guarded_block(size, kind == UNDERFLOW);
        break;
    }
    fact("misuse", 3, NUMBER(kind), NUMBER(victim), NUMBER(size));
    if (kind == FREED_REALLOC || kind == FOREIGN_REALLOC)
        victim = realloc(victim, 100);
    else if (kind == WRONG_SIZE)
        free_sized(victim, 480);
    else if (kind == CORRUPT_LIST || kind == WRITE_AFTER_FREE)
        malloc_trim(0);
    else if (kind == UNDERFLOW)
        ((volatile char *)victim)[-1] = 1;
    else
        free(victim);
    if (kind == USE_AFTER_FREE)
        *(volatile char *)victim = 1;
    _exit(0);
}

/* A process of its own, by vfork: that is none of this one's generations. */
static pid_t start_committing(int kind)
{
    char text[16];
    snprintf(text, sizeof text, "%d", kind);
    setenv("HAKMEM_CONF", settings_for(kind), 1);
    pid_t pid = vfork();
    if (pid == 0) {
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        execl(program, program, "commit_misuse", text, (char *)NULL);
        _exit(9);
    }
    unsetenv("HAKMEM_CONF");
    return pid;
}

static void misuse(void)
{
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    for (int kind = 0; kind < KINDS; kind++) {
        int status = 0;
        pid_t pid = kind < ORDINARY_KINDS ? fork() : start_committing(kind);
        if (pid == 0) {
            dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
            commit_misuse(kind);
        }
        waitpid(pid, &status, 0);
        expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "misuse was let through");
    }
}

#define THREADS 6

static pthread_barrier_t all_here;

static void *one_of_several(void *arg)
{
    free(malloc(20));
    pthread_barrier_wait(&all_here);
    return arg;
}

static void threads(void)
{
    pthread_t thread[THREADS];
    free(malloc(20));
    pthread_barrier_init(&all_here, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, one_of_several, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    fact("threads", 1, (unsigned long long)THREADS);
}

static void child_of(pid_t parent, bool raw, int depth)
{
    pid_t pid = raw ? (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) : fork();
    if (pid == 0) {
        take_and_give(10, 100);
        /* Not getpid(): a raw clone is beyond what libc knows. */
        fact("fork", 2, (unsigned long long)syscall(SYS_getpid), (unsigned long long)parent);
        if (depth > 1)
            child_of((pid_t)syscall(SYS_getpid), raw, depth - 1);
        syscall(SYS_exit_group, 0);
    }
    int status = 1;
    waitpid(pid, &status, 0);
    expect(status == 0, "the child failed");
}

static void process_fork(void)
{
    take(100, 100);
    child_of(getpid(), false, 2);
    child_of(getpid(), true, 1);
}

/* HAKMEM_CONF=guard:1. The last one is used after its free, by a child. */
static void guard_alloc(void)
{
    char *block = NULL;
    for (int guarded = 0; guarded < 10;) {
        block = malloc(47);
        if (malloc_usable_size(block) == 47) {
            fact("guarded", 2, NUMBER(block), NUMBER(47));
            guarded++;
        }
        free(block);
    }
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    fact("misuse", 3, NUMBER(9), NUMBER(block), NUMBER(47)); /* USE_AFTER_FREE */
    pid_t pid = fork();
    if (pid == 0) {
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        *(volatile char *)block = 1;
        _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "a use after free was let through");
}

static const struct {
    const char *probe;
    void (*run)(void);
} scenarios[] = {
    {"fast_miss", fast_miss},
    {"cache_report", cache_report},
    {"tls_drain", tls_drain},
    {"slab_acquire", slab_acquire},
    {"slab_release", slab_release},
    {"superslab_map", superslab_map},
    {"superslab_unmap", superslab_unmap},
    {"shared_fail", shared_fail},
    {"legacy_alloc", legacy_alloc},
    {"legacy_free", legacy_free},
    {"ace_fail", ace_fail},
    {"ace_adapt", ace_adapt},
    {"os_map", os_map},
    {"os_unmap", os_unmap},
    {"os_purge", os_purge},
    {"alloc_fail", alloc_fail},
    {"misuse", misuse},
    {"thread_start", threads},
    {"thread_exit", threads},
    {"process_fork", process_fork},
    {"guard_alloc", guard_alloc},
};

int main(int argc, char **argv)
{
    program = argv[0];
    for (size_t i = 0; argc == 2 && i < sizeof scenarios / sizeof scenarios[0]; i++) {
        if (strcmp(scenarios[i].probe, argv[1]) == 0) {
            scenarios[i].run();
            return 0;
        }
    }
    if (argc == 3 && strcmp(argv[1], "commit_misuse") == 0)
        commit_misuse(atoi(argv[2]));
    fprintf(stderr, "usage: scenario PROBE\n");
    return 2;
}
