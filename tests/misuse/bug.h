/* bug.h - what the programs of this folder share. Each has one bug; table.tsv says by which line it must end, and judge.py looks.
 *
 *   PROGRAM SIZE     the bug in blocks of SIZE bytes
 *
 * With MISUSE_HOT=1 the bug comes after a hundred thousand calls of the same size, and _exit(2) right behind it: nothing that a
 * later call or exit(3) finds is in time. The program prints the address that it is going to misuse before. */
#ifndef BUG_H
#define BUG_H

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>

#include "../behaviour/check.h"

static inline void *block_of(size_t size)
{
    unsigned char *ptr = take(size);
    memset(ptr, 0x77, size < KIB ? size : KIB);
    return ptr;
}

/* The largest size up to `size` whose free blocks lie in a list in the program's memory. */
static inline size_t listed_size(size_t size)
{
    return size > 16 * KIB ? 16 * KIB : size;
}

static inline void *listed_block(size_t size)
{
    return block_of(listed_size(size));
}

#define PAGE ((uintptr_t)4096)

/* One that guard:1 has guarded: a thread's first of a class can't be. */
static inline void *guarded_block(size_t size)
{
    opaque(block_of(size));
    return block_of(size);
}

/* Says which address is misused next: a line that must arrive. */
static inline void *announce(void *ptr)
{
    printf("about to misuse 0x%lx\n", (unsigned long)(uintptr_t)ptr);
    fflush(stdout);
    return opaque(ptr);
}

static inline void *free_in_thread(void *ptr)
{
    free(ptr);
    return NULL;
}

static inline void free_by_size(void *ptr, size_t size)
{
    void (*sized)(void *, size_t);
    *(void **)&sized = dlsym(RTLD_DEFAULT, "free_sized");
    require(sized != NULL, "no free_sized: the program doesn't run on hakmem");
    sized(ptr, size);
}

/* So many calls that lists and counters are those of a program that has long been at work. */
static inline void warm_up(size_t size)
{
    static void *blocks[256];
    for (unsigned round = 0; round < 400; round++) {
        for (unsigned i = 0; i < 256; i++)
            blocks[i] = take(size);
        for (unsigned i = 0; i < 256; i++)
            free(blocks[i]);
    }
}

static inline int run_bug(int argc, char **argv, void (*bug)(size_t size))
{
    require(argc == 2, "usage: %s SIZE", argv[0]);
    size_t size = strtoull(argv[1], NULL, 10);
    bool hot = getenv("MISUSE_HOT") != NULL;
    if (hot && size <= 32 * KIB)
        warm_up(size);
    bug(size);
    if (hot)
        _exit(0);
    return 0;
}

#endif
