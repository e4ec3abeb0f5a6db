/* common.h - what the programs of this folder share: options, clock, random numbers, memory for their own books, and the
 * answer, one line on standard output:
 *
 *   mops=MILLIONS_OF_OPERATIONS_A_SECOND rss_kib=PEAK end_kib=AT_THE_ANSWER allocs=N bytes=REQUESTED malloc=ITS_FILE
 *
 * What a program does depends on its options alone; `allocs` and `bytes` tell whether two runs did the same. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct option_row {
    const char *name;
    uint64_t *value;      /* holds the default */
    uint64_t least, most; /* 0 and 1: a flag, without an argument */
    const char *meaning;
};

/* Rows that most programs have: bounds of the blocks' sizes in bytes, and the seed of the random numbers. */
extern uint64_t size_lo, size_hi, seed;
#define OPTIONS_OF_SIZE                                  \
    {"lo", &size_lo, 1, UINT32_MAX, "bytes, the least"}, \
    {                                                    \
        "hi", &size_hi, 1, UINT32_MAX, "bytes, the most" \
    }
#define OPTION_OF_SEED                                        \
    {                                                         \
        "seed", &seed, 0, UINT32_MAX, "of the random numbers" \
    }

/* Reads the command line; on a bad one, and for --help, prints the table and exits. */
void read_options(int argc, char **argv, const struct option_row *rows, size_t count);

_Noreturn void die(const char *why);

/* Zeroed pages that are resident already: no allocator sees them, and their first touch costs no fault. */
void *own_pages(size_t bytes);

/* Monotonic, in seconds. */
double now(void);

/* The process's resident memory in KiB, its peak if `peak`. */
unsigned long resident_kib(int peak);

/* What a thread, or all of them, did. */
struct work {
    uint64_t ops, allocs, bytes;
    double began, ended; /* by the worker's own clock: its starter may be scheduled late */
};

/* Adds up, and widens the time to hold both. */
void add_work(struct work *total, const struct work *part);

/* Prints the answer. */
void answer(const struct work *total);

/* With attr NULL the default attributes; never fails. */
pthread_t start_thread(void *(*body)(void *), void *arg, const pthread_attr_t *attr);

/* G. Marsaglia, "Xorshift RNGs", 2003. */
static inline uint64_t random_next(uint64_t x)
{
    x ^= x << 13;
    x ^= x >> 7;
    return x ^ x << 17;
}

static inline uint64_t random_seeded(uint64_t number)
{
    return (number + 1) * 0x9e3779b97f4a7c15u;
}

/* 0..span - 1 by the low half of x, or by the high one; span is at most 2^32. */
static inline uint64_t random_low(uint64_t x, uint64_t span)
{
    return (x & UINT32_MAX) * span >> 32;
}

static inline uint64_t random_high(uint64_t x, uint64_t span)
{
    return (x >> 32) * span >> 32;
}

static inline size_t random_size(uint64_t x)
{
    return size_lo + random_low(x, size_hi - size_lo + 1);
}

/* A block whose first byte is written, and counted. */
static inline void *take_block(struct work *work, size_t size)
{
    char *block = malloc(size);
    if (block == NULL)
        die("malloc failed");
    *(volatile char *)block = 1;
    work->allocs++;
    work->bytes += size;
    return block;
}

#endif
