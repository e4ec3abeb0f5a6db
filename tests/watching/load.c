/* load.c - loads for those who watch:  load NAME...  says `ready`; for each NAME it waits for a line on standard input, does what
 * NAME says, tells what the allocator's own statistics make of it as lines `WHAT NUMBER...`, and says `done`; it ends at another
 * line, so that a tool can still find its symbols. The counts are primes: a number that is right by chance is unlikely. Nothing
 * but the load itself allocates. HAKMEM_LOAD_NAME is what the process calls itself. */
#include "hakmem.h"

#include "tests/lib/blocks.h"

#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* The allocator that is preloaded, or linked. */
#pragma weak hk_stats
#pragma weak hk_class_stats

static void fail(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    _exit(8);
}

static void say(const char *format, ...)
{
    char line[256];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (write(STDOUT_FILENO, line, (size_t)length) != length)
        fail("can't write");
}

static void await_line(void)
{
    char byte = 0;
    while (byte != '\n')
        if (read(STDIN_FILENO, &byte, 1) != 1)
            fail("standard input has ended");
}

static struct hk_class_stats class_of(size_t size)
{
    struct hk_class_stats stats;
    for (unsigned i = 0; hk_class_stats(i, &stats, sizeof stats) == 0; i++)
        if (stats.block_size == size)
            return stats;
    fail("no such class");
    return stats;
}

static struct hk_stats process(void)
{
    struct hk_stats stats;
    if (hk_stats(&stats, sizeof stats) != 0)
        fail("no statistics");
    return stats;
}

/* What was there when the load began. */
static struct hk_stats before;

#define NUMBER(x) ((unsigned long long)(x))

static void say_class(size_t size)
{
    struct hk_class_stats stats = class_of(size);
    say("class %zu allocs %llu misses %llu refills %llu held %llu drains %llu drain_blocks %llu slabs %llu fallbacks "
        "%llu\n",
        size, NUMBER(stats.allocs), NUMBER(stats.misses), NUMBER(stats.refills), NUMBER(stats.refills_held),
        NUMBER(stats.drains), NUMBER(stats.drain_blocks), NUMBER(stats.slabs), NUMBER(stats.fallbacks));
}

/* 23 of one class, 9973 of another, 7 large and 3 huge ones. */
static void misses(void)
{
    take(23, 48);
    take(9973, 112);
    take(7, 320 * KIB);
    take(3, 3 * MIB);
    say_class(48);
    say_class(112);
    say_class(320 * KIB);
    say_class(0);
}

/* Blocks that live on, so that caches miss; then some that don't, until the last report holds all of the misses. */
static void hit_rate(void)
{
    for (int i = 0; i < 19; i++) {
        take(997, 112);
        usleep(2000);
    }
    struct hk_class_stats stats = class_of(112);
    for (int i = 0; i < 240; i++) {
        for (int j = 0; j < 1009; j++)
            free(ask_for_memory(112));
        usleep(1000);
    }
    if (class_of(112).misses != stats.misses)
        fail("a block taken and given missed");
    say_class(112);
}

static void *drainer(void *arg)
{
    pthread_setname_np(pthread_self(), "drainer");
    give(take(4999, 512), 4999);
    return arg;
}

static void drains(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, drainer, NULL);
    pthread_join(thread, NULL);
    give(take(13, 256), 13);
    malloc_trim(0);
    say_class(256);
    say_class(512);
}

/* HAKMEM_CONF=superslabs:1 or region:0 */
static void fallback(void)
{
    void **small = take(4001, KIB), **mid = take(151, 12 * KIB);
    struct hk_stats peak = process();
    say("peak chunks %llu fallbacks %llu exhaustion %llu\n", NUMBER(peak.legacy_chunks - before.legacy_chunks),
        NUMBER(peak.fallbacks - before.fallbacks), NUMBER(peak.ace_fails[1] - before.ace_fails[1]));
    say_class(KIB);
    say_class(12 * KIB);
    give(small, 4001);
    give(mid, 151);
    malloc_trim(0);
    say("end chunks %llu\n", NUMBER(process().legacy_chunks - before.legacy_chunks));
}

static void limit_address_space(size_t bytes)
{
    struct rlimit limit = {bytes, RLIM_INFINITY};
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        fail("no limit");
}

/* HAKMEM_CONF=ace_limit:16m */
static void ace(void)
{
    give(take(7, 20 * MIB), 7);
    limit_address_space(64 * KIB); /* below what is in use: no more */
    for (int i = 0; i < 5; i++)
        if (ask_for_memory(5 * MIB) != NULL)
            fail("more memory than the limit allows");
    struct hk_stats stats = process();
    say("ace_fails threshold %llu exhaustion %llu mapfail %llu alloc_fails %llu\n", NUMBER(stats.ace_fails[0]),
        NUMBER(stats.ace_fails[1]), NUMBER(stats.ace_fails[2]), NUMBER(stats.alloc_fails));
}

/* HAKMEM_CONF=ace_limit:16m: each block is mapped and unmapped directly. */
static void os_memory(void)
{
    for (int i = 0; i < 11; i++)
        give(take(1, 20 * MIB), 1);
    take(5003, KIB);
    give(take(5003, KIB), 5003);
    malloc_trim(0);
    struct hk_stats stats = process();
    say("memory before %llu mapped %llu purged %llu\n", NUMBER(before.mapped_bytes / KIB),
        NUMBER(stats.mapped_bytes / KIB), NUMBER((stats.purged_bytes - before.purged_bytes) / KIB));
}

static void alloc_fail(void)
{
    if (ask_for_memory(SIZE_MAX / 2 + 1) != NULL)
        fail("a block of absurd size");
    limit_address_space(64 * KIB);
    for (int i = 0; i < 5; i++)
        if (ask_for_memory(6000000011) != NULL)
            fail("more memory than the limit allows");
    say("alloc_fails %llu\n", NUMBER(process().alloc_fails));
}

static void growth(void)
{
    take(211, 8 * KIB);
    give(take(53, 20 * KIB), 53);
    give(take(11, 320 * KIB), 11);
    malloc_trim(0);
    say_class(8 * KIB);
    say_class(20 * KIB);
    say_class(320 * KIB);
}

/* More blocks of a class than its pool may keep, again and again; then few. */
static void adapt(void)
{
    for (int i = 0; i < 60; i++)
        give(take(23, 112 * KIB), 23);
    for (int i = 0; i < 3001; i++)
        give(take(2, 112 * KIB), 2);
    say("caps %zu cap %llu\n", 112 * KIB, NUMBER(class_of(112 * KIB).pool_cap_blocks));
}

static void double_free(void)
{
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    void *block = ask_for_memory(48), *volatile again = block;
    free(block);
    say("block 0x%llx\n", NUMBER((uintptr_t)again));
    free(again);
}

static const struct {
    const char *name;
    void (*run)(void);
} loads[] = {
    {"misses", misses},
    {"hit_rate", hit_rate},
    {"drains", drains},
    {"fallback", fallback},
    {"ace", ace},
    {"adapt", adapt},
    {"growth", growth},
    {"os_memory", os_memory},
    {"alloc_fail", alloc_fail},
    {"double_free", double_free},
};

static void run(const char *name)
{
    for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) {
        if (strcmp(name, loads[i].name) == 0) {
            loads[i].run();
            return;
        }
    }
    fail("no such load");
}

int main(int argc, char **argv)
{
    if (argc < 2 || hk_stats == NULL)
        fail(argc < 2 ? "usage: load NAME..." : "not on hakmem");
    if (getenv("HAKMEM_LOAD_NAME") != NULL)
        prctl(PR_SET_NAME, getenv("HAKMEM_LOAD_NAME"));
    free(malloc(1));
    say("ready\n");
    for (int i = 1; i < argc; i++) {
        await_line();
        before = process();
        run(argv[i]);
        say("done\n");
    }
    await_line();
    return 0;
}
