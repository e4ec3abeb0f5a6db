/* sampled.c - threads allocate known numbers of known sizes in every way and free each other's blocks, under a heap profiler.
 *
 * usage: sampled ROUNDS|late
 *
 * late: a thread that has been at work, "warm", waits for a line and allocates 5,000 blocks of 48 bytes, "done".
 *
 * Waits for a line on standard input. Says "SIZE ALLOCATIONS" for each size that was asked for, as often as it was; then waits for
 * another line. Each size is asked for in one way alone, by threads that are born after the first line. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#define THREADS 4

enum how { BY_MALLOC, BY_CALLOC, BY_ALIGNED, BY_REALLOC };

static const struct kind {
    size_t size;
    enum how how;
    unsigned count; /* a round and thread */
} kinds[] = {
    {48, BY_MALLOC, 1000},   {112, BY_CALLOC, 500},   {768, BY_ALIGNED, 300},  {1000, BY_MALLOC, 300},
    {3001, BY_REALLOC, 100}, {20000, BY_MALLOC, 40},  {32000, BY_CALLOC, 20},  {70000, BY_MALLOC, 20},
    {81920, BY_ALIGNED, 10}, {300000, BY_CALLOC, 10}, {600001, BY_REALLOC, 5}, {5000000, BY_MALLOC, 2},
    {7000000, BY_CALLOC, 2},
};
#define KINDS (sizeof kinds / sizeof kinds[0])
#define BLOCKS 4000
#define SMALL_FIRST 64 /* what realloc grows from */

static unsigned rounds;
static void *blocks[THREADS][BLOCKS];
static pthread_barrier_t barrier;

static void *take_one(const struct kind *kind)
{
    void *block;
    switch (kind->how) {
    case BY_CALLOC:
        return calloc(1, kind->size);
    case BY_ALIGNED:
        return aligned_alloc(256, kind->size);
    case BY_REALLOC:
        block = malloc(SMALL_FIRST);
        require(block != NULL, "malloc");
        return realloc(block, kind->size);
    default:
        return malloc(kind->size);
    }
}

static void *work(void *arg)
{
    unsigned self = (unsigned)(uintptr_t)arg;
    for (unsigned round = 0; round < rounds; round++) {
        unsigned n = 0;
        for (unsigned k = 0; k < KINDS; k++)
            for (unsigned i = 0; i < kinds[k].count; i++, n++) {
                require(n < BLOCKS, "too many blocks");
                blocks[self][n] = take_one(&kinds[k]);
                require(blocks[self][n] != NULL, "out of memory");
                *(volatile char *)blocks[self][n] = 1;
            }
        pthread_barrier_wait(&barrier);
        void **others = blocks[(self + round) % THREADS];
        for (unsigned i = 0; i < n; i++)
            free(others[i]);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void wait_for_line(void)
{
    char byte;
    while (read(STDIN_FILENO, &byte, 1) == 1 && byte != '\n')
        continue;
}

static int start_late(void)
{
    for (unsigned i = 0; i < 1000000; i++)
        free(take(48));
    puts("warm");
    fflush(stdout);
    wait_for_line();
    for (unsigned i = 0; i < 5000; i++)
        free(take(48));
    puts("done");
    fflush(stdout);
    wait_for_line();
    return 0;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    if (argc == 2 && strcmp(argv[1], "late") == 0)
        return start_late();
    require(argc == 2 && (rounds = (unsigned)strtoul(argv[1], NULL, 10)) != 0, "usage: sampled ROUNDS");
    pthread_barrier_init(&barrier, NULL, THREADS);
    wait_for_line();
    for (uintptr_t i = 0; i < THREADS; i++)
        require(pthread_create(&threads[i], NULL, work, (void *)i) == 0, "pthread_create");
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    unsigned reallocs = 0;
    for (unsigned k = 0; k < KINDS; k++) {
        printf("%zu %u\n", kinds[k].size, kinds[k].count * rounds * THREADS);
        reallocs += kinds[k].how == BY_REALLOC ? kinds[k].count * rounds * THREADS : 0;
    }
    printf("%u %u\n", SMALL_FIRST, reallocs);
    fflush(stdout);
    wait_for_line();
    return 0;
}
