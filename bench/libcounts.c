/* libcounts - preloaded in front of hakmem: writes hakmem's account at exit, and makes it exact and repeatable.
 *
 * What hakmem does by the clock would make a count depend on the machine's speed, so each reading of the clock comes one
 * microsecond after the one before. The account goes to the file that BENCH_COUNTS names, NAME VALUE a line. */
#include "../src/hakmem.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
#define STEP_NS 1000u
#define SECOND_NS 1000000000u

#pragma weak hk_class_stats

EXPORT int clock_gettime(clockid_t clock, struct timespec *ts)
{
    static _Atomic uint64_t readings;
    uint64_t ns = SECOND_NS + STEP_NS * atomic_fetch_add(&readings, 1);
    (void)clock;
    *ts = (struct timespec){(time_t)(ns / SECOND_NS), (long)(ns % SECOND_NS)};
    return 0;
}

__attribute__((destructor)) static void write_account(void)
{
    const char *path = getenv("BENCH_COUNTS");
    if (path == NULL || hk_class_stats == NULL)
        return;
    struct hk_class_stats total = {0}, one;
    for (unsigned c = 0; hk_class_stats(c, &one, sizeof(one)) == 0; c++) {
        total.allocs += one.allocs;
        total.frees += one.frees;
        total.misses += one.misses;
        total.refills += one.refills;
        total.refills_held += one.refills_held;
        total.drains += one.drains;
        total.drain_blocks += one.drain_blocks;
        total.fallbacks += one.fallbacks;
    }
    FILE *out = fopen(path, "w");
    if (out == NULL)
        return;
    fprintf(out, "allocs %llu\nfrees %llu\nmisses %llu\nrefills %llu\n", (unsigned long long)total.allocs,
            (unsigned long long)total.frees, (unsigned long long)total.misses, (unsigned long long)total.refills);
    fprintf(out, "refills_held %llu\ndrains %llu\ndrain_blocks %llu\nfallbacks %llu\n",
            (unsigned long long)total.refills_held, (unsigned long long)total.drains,
            (unsigned long long)total.drain_blocks, (unsigned long long)total.fallbacks);
    fclose(out);
}
