/* demo_statistics.c - preloaded behind hakmem by demo.sh where there is no BPF: a thread in the watched process that writes,
 * every second, the table that hakmem_overview.bt makes from the probes, from the functions of hakmem.h. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "hakmem.h"

#define MOST_CLASSES 256u

static struct hk_class_stats last[MOST_CLASSES];
static FILE *out;

static double hit_rate(uint64_t allocs, uint64_t misses)
{
    return allocs == 0 || misses > allocs ? 0.0 : 100.0 - 100.0 * (double)misses / (double)allocs;
}

static void write_class(unsigned class_idx)
{
    struct hk_class_stats now;
    if (hk_class_stats(class_idx, &now, sizeof now) != 0)
        return;
    struct hk_class_stats *old = &last[class_idx];
    uint64_t allocs = now.allocs - old->allocs, misses = now.misses - old->misses;
    if (allocs != 0 || now.drains != old->drains)
        fprintf(out, "%9u %9llu %10llu %7.2f %7.2f %9llu %9llu %6llu %9llu %9llu\n", now.block_size,
                (unsigned long long)now.live_blocks, (unsigned long long)allocs, hit_rate(allocs, misses),
                hit_rate(now.allocs, now.misses), (unsigned long long)misses,
                (unsigned long long)(now.drains - old->drains), (unsigned long long)now.slabs,
                (unsigned long long)now.fallbacks,
                (unsigned long long)(now.ace_fails[0] + now.ace_fails[1] + now.ace_fails[2]));
    *old = now;
}

static void write_table(void)
{
    char text[32];
    time_t now = time(NULL);
    struct tm local;
    strftime(text, sizeof text, "%H:%M:%S", localtime_r(&now, &local));
    fprintf(out, "\n%s\n%9s %9s %10s %7s %7s %9s %9s %6s %9s %9s\n", text, "size", "live", "allocs/s", "hit %",
            "life %", "misses/s", "drains/s", "slabs", "fallback", "ace fail");
    for (unsigned c = 0; c < MOST_CLASSES; c++)
        write_class(c);
    struct hk_stats stats;
    if (hk_stats(&stats, sizeof stats) == 0)
        fprintf(out, "SuperSlabs %llu, mapped %llu KiB, given back %llu KiB, failed allocations %llu\n",
                (unsigned long long)stats.superslabs, (unsigned long long)stats.mapped_bytes / 1024,
                (unsigned long long)stats.purged_bytes / 1024, (unsigned long long)stats.alloc_fails);
    fflush(out);
}

static void *write_every_second(void *arg)
{
    for (;;) {
        sleep(1);
        write_table();
    }
    return arg;
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("HAKMEM_DEMO_OUTPUT");
    pthread_t thread;
    sigset_t all, before;
    if (path == NULL || (out = fopen(path, "ae")) == NULL)
        return;
    unsetenv("HAKMEM_DEMO_OUTPUT"); /* not for the children */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before); /* signals are the program's own threads' */
    if (pthread_create(&thread, NULL, write_every_second, NULL) != 0)
        perror("demo_statistics: pthread_create");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
