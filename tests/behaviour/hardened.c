/* hardened.c - what HAKMEM_CONF=harden:1 promises, one thing a run.
 *
 * usage: hardened KIND [SIZE]
 *
 * The first kinds are bugs: each tells the block's address, and is to be stopped. The others say "good". */
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "hakmem.h"

#define SUPERSLAB ((uintptr_t)2 << 20)

static size_t size = 48;

static char *announced(void)
{
    char *block = malloc(size);
    require(block != NULL, "malloc");
    memset(block, 0x55, size);
    printf("%p\n", (void *)block);
    fflush(stdout);
    return opaque(block);
}

/* ---- bugs ---- */

static void overflow(void)
{
    char *block = announced();
    block[size] = 0; /* as a string's terminator */
    free(block);
}

static void overflow_by_eight(void)
{
    char *block = announced();
    memset(block + size, 0x55, 8);
    free(block);
}

static void overflow_then_realloc(void)
{
    char *block = announced();
    block[size] = 1;
    opaque(realloc(block, size + 100));
}

static void overflow_then_size(void)
{
    char *block = announced();
    block[size] = 1;
    malloc_usable_size(block);
}

/* Of the block behind: its own canary stands before it. */
static void underflow(void)
{
    char *blocks[512], *victim = NULL;
    for (unsigned i = 0; i < 512; i++)
        blocks[i] = opaque(malloc(size));
    for (unsigned i = 0; i < 512 && victim == NULL; i++)
        for (unsigned k = 0; k < 512 && victim == NULL; k++)
            if (blocks[k] > blocks[i] && (size_t)(blocks[k] - blocks[i]) < size + 32)
                victim = blocks[k];
    require(victim != NULL, "no block has a neighbour");
    victim[-1] ^= 0x55;
    printf("%p\n", (void *)victim);
    fflush(stdout);
    for (unsigned i = 0; i < 512; i++)
        free(blocks[i]);
}

static void write_after_free(void)
{
    char *block = announced();
    free(block);
    block[size / 2] = 1;
    malloc_trim(0);
}

static void write_long_after_free(void)
{
    char *block = announced();
    free(block);
    block[0] = 1;
    for (unsigned i = 0; i < 100000; i++)
        free(malloc(size));
}

static void double_free(void)
{
    char *block = announced();
    free(block);
    free(block);
}

static void double_free_after_100(void)
{
    char *block = announced();
    free(block);
    for (unsigned i = 0; i < 100; i++)
        free(malloc(size));
    free(block);
}

static void *free_it(void *block)
{
    free(block);
    return NULL;
}

static void double_free_in_thread(void)
{
    pthread_t thread;
    char *block = announced();
    free(block);
    require(pthread_create(&thread, NULL, free_it, block) == 0 && pthread_join(thread, NULL) == 0, "thread");
}

static void sized_by_one(void)
{
    void (*free_sized_of)(void *, size_t);
    *(void **)&free_sized_of = dlsym(RTLD_DEFAULT, "free_sized");
    require(free_sized_of != NULL, "no free_sized");
    free_sized_of(announced(), size - 1);
}

/* From a block of the lowest of several SuperSlabs to that one's end, and a byte more. */
static void beyond_superslab(void)
{
    char *block = announced();
    for (size_t bytes = 0; bytes < 4 * SUPERSLAB; bytes += size) {
        char *next = opaque(malloc(size));
        block = next < block ? next : block;
    }
    char *end = (char *)(((uintptr_t)block + SUPERSLAB) & ~(SUPERSLAB - 1));
    *(volatile char *)end = 1;
}

static void before_superslab(void)
{
    char *block = announced(), *start = (char *)((uintptr_t)block & ~(SUPERSLAB - 1));
    *(volatile char *)(start - 1) = 1;
}

/* ---- what a program may see ---- */

/* The line of /proc/self/maps with `block`, and those before and after it: whether these can't be touched, and lie next to it. */
static void fenced(void)
{
    char *block = opaque(malloc(size)), line[512];
    uintptr_t start, end, last_end = 0, found_end = 0;
    char mode[5];
    bool last_shut = false, front = false, behind = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    require(maps != NULL && block != NULL, "no maps, or no block");
    while (fgets(line, sizeof line, maps) != NULL && sscanf(line, "%lx-%lx %4s", &start, &end, mode) == 3) {
        bool shut = mode[0] == '-' && mode[1] == '-';
        if (found_end != 0) {
            behind = shut && start == found_end;
            break;
        }
        if ((uintptr_t)block >= start && (uintptr_t)block < end) {
            front = last_shut && last_end == start;
            found_end = end;
        }
        last_end = end;
        last_shut = shut;
    }
    require(front && behind, "%p of %zu bytes: fenced in front %d, behind %d", block, size, front, behind);
}

static void order(void)
{
    enum { BLOCKS = 256 };
    static char *blocks[BLOCKS];
    unsigned neighbours = 0;
    for (unsigned i = 0; i < BLOCKS; i++)
        blocks[i] = opaque(malloc(size));
    for (unsigned i = 1; i < BLOCKS; i++) {
        ptrdiff_t step = blocks[i] - blocks[i - 1];
        neighbours += step > 0 && (size_t)step < 2 * size + 64;
    }
    require(neighbours < BLOCKS / 4, "%u of %u blocks lie behind the one before", neighbours, BLOCKS);
}

static void zero(void)
{
    unsigned char *block = opaque(malloc(size));
    memset(block, 0x55, size);
    free(block);
    for (size_t i = 0; i < size; i++)
        require(block[i] == 0, "byte %zu is %u after the free", i, block[i]);
}

/* What realloc cut off, where the block lies, is not taken for a write after its free. */
static void shrunk(void)
{
    for (size_t cut = 1; cut < size; cut += cut / 2 + 1) {
        char *block = malloc(size);
        require(block != NULL, "malloc");
        memset(block, 0x55, size);
        block = realloc(block, size - cut);
        require(block != NULL, "realloc");
        free(opaque(block));
        malloc_trim(0);
    }
}

static void reuse(void)
{
    char *block = opaque(malloc(size));
    unsigned until = 0, soon = 0;
    uintptr_t first = (uintptr_t)block;
    for (unsigned round = 0; round < 200; round++) {
        void *next;
        free(block);
        next = malloc(size);
        soon += next == block;
        block = next;
    }
    require(soon < 10, "%u of 200 blocks came back at once", soon);
    for (void *other = NULL; (uintptr_t)other != first && until < 1000000; until++) {
        other = malloc(size);
        free(other);
    }
    require(until < 1000000, "a block never comes back");
}

static void exact_size(void)
{
    for (size_t bytes = 1; bytes < 200000; bytes += 1 + bytes / 7) {
        char *block = malloc(bytes);
        require(block != NULL && malloc_usable_size(block) == bytes, "%zu of %zu bytes", malloc_usable_size(block),
                bytes);
        block = realloc(block, bytes + 3);
        require(block != NULL && malloc_usable_size(block) == bytes + 3, "after realloc to %zu", bytes + 3);
        free(block);
    }
}

static void counts(void)
{
    struct hk_class_stats stats;
    int (*read_class)(unsigned, struct hk_class_stats *, size_t);
    *(void **)&read_class = dlsym(RTLD_DEFAULT, "hk_class_stats");
    require(read_class != NULL, "no hk_class_stats");
    static void *blocks[3000];
    for (unsigned i = 0; i < 3000; i++)
        blocks[i] = malloc(1 + i * 11);
    for (unsigned i = 0; i < 3000; i += 2)
        free(blocks[i]);
    unsigned long long live = 0, allocs = 0;
    for (unsigned c = 0; read_class(c, &stats, sizeof stats) == 0; c++) {
        require(stats.allocs >= stats.frees && stats.live_blocks == stats.allocs - stats.frees, "class %u: %llu live",
                c, (unsigned long long)stats.live_blocks);
        require(stats.misses >= stats.refills, "class %u: fewer misses than refills", c);
        live += stats.live_blocks;
        allocs += stats.allocs;
    }
    require(live >= 1500 && live < 1600, "%llu blocks live", live);
    require(allocs >= 3000, "%llu allocations", allocs);
}

static void memory_refused(void)
{
    const struct rlimit limit = {(rlim_t)400 << 20, (rlim_t)400 << 20};
    require(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
    for (unsigned round = 0; round < 3; round++) {
        void **list = NULL, **next;
        unsigned long blocks = 0;
        while ((next = malloc(3000)) != NULL) {
            *next = list;
            list = next;
            blocks++;
        }
        require(blocks > 10000, "round %u: only %lu blocks", round, blocks);
        for (; list != NULL; list = next) {
            next = *list;
            free(list);
        }
    }
}

static void *churn(void *arg)
{
    void *blocks[64] = {0};
    unsigned random = (unsigned)(uintptr_t)arg + 1;
    for (unsigned i = 0; i < 30000; i++) {
        random = random * 1103515245 + 12345;
        unsigned slot = random >> 16 & 63;
        free(blocks[slot]);
        blocks[slot] = malloc(random >> 20);
        require(blocks[slot] != NULL, "malloc");
    }
    for (unsigned i = 0; i < 64; i++)
        free(blocks[i]);
    return NULL;
}

static void forks(void)
{
    pthread_t threads[3];
    for (uintptr_t i = 0; i < 3; i++)
        require(pthread_create(&threads[i], NULL, churn, (void *)i) == 0, "thread");
    for (unsigned i = 0; i < 50; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            churn((void *)(uintptr_t)i);
            malloc_trim(0);
            _exit(0);
        }
        require(child > 0 && waitpid(child, &status, 0) == child && status == 0, "a child ended with %d", status);
    }
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
}

static const struct {
    const char *name;
    void (*run)(void);
    bool bug;
} kinds[] = {
    {"overflow", overflow, true},
    {"overflow_by_eight", overflow_by_eight, true},
    {"overflow_then_realloc", overflow_then_realloc, true},
    {"overflow_then_size", overflow_then_size, true},
    {"underflow", underflow, true},
    {"write_after_free", write_after_free, true},
    {"write_long_after_free", write_long_after_free, true},
    {"double_free", double_free, true},
    {"double_free_after_100", double_free_after_100, true},
    {"double_free_in_thread", double_free_in_thread, true},
    {"sized_by_one", sized_by_one, true},
    {"beyond_superslab", beyond_superslab, true},
    {"before_superslab", before_superslab, true},
    {"fenced", fenced, false},
    {"order", order, false},
    {"zero", zero, false},
    {"shrunk", shrunk, false},
    {"reuse", reuse, false},
    {"exact_size", exact_size, false},
    {"counts", counts, false},
    {"memory_refused", memory_refused, false},
    {"forks", forks, false},
};

int main(int argc, char **argv)
{
    if (argc == 3)
        size = strtoul(argv[2], NULL, 10);
    for (size_t i = 0; argc >= 2 && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, argv[1]) == 0) {
            kinds[i].run();
            if (!kinds[i].bug)
                puts("good");
            return 0;
        }
    fail("usage: hardened KIND [SIZE]");
}
