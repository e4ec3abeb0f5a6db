/* hostile.c - a program that fires hakmem's probes itself, with whatever arguments harm most. Linked with probes/probes.c:
 * it has the probes as a program linked with libhakmem.a does, and no allocator behind them. */
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "probes/probe.h"
#include "src/account.h"

static struct hk_class_account fake[HK_ACCOUNT_CLASSES];

static void fire_all(uint64_t a)
{
    HK_PROBE_FIRE(fast_miss, a, a, a, a, a, a);
    HK_PROBE_FIRE(cache_report, a, a, a, a);
    HK_PROBE_FIRE(cache_report, a % HK_ACCOUNT_CLASSES, a, a, sizeof fake[0]);
    HK_PROBE_FIRE(tls_drain, a, a, a, a, a);
    HK_PROBE_FIRE(slab_acquire, a, a, a, a);
    HK_PROBE_FIRE(slab_release, a, a, a, a);
    HK_PROBE_FIRE(superslab_map, a, a);
    HK_PROBE_FIRE(superslab_unmap, a, a);
    HK_PROBE_FIRE(shared_fail, a, a, a, a);
    HK_PROBE_FIRE(legacy_alloc, a, a, a, a);
    HK_PROBE_FIRE(legacy_free, a, a, a, a);
    HK_PROBE_FIRE(ace_fail, a, a, a, a, a, a);
    HK_PROBE_FIRE(ace_adapt, a, a, a, a, a);
    HK_PROBE_FIRE(os_map, a, a, a, a);
    HK_PROBE_FIRE(os_unmap, a, a, a, a);
    HK_PROBE_FIRE(os_purge, a, a, a);
    HK_PROBE_FIRE(alloc_fail, a, a, a);
    HK_PROBE_FIRE(misuse, a, a, a);
    HK_PROBE_FIRE(thread_start, a, a);
    HK_PROBE_FIRE(process_fork, a, a);
    HK_PROBE_FIRE(thread_exit, a, a);
}

/* An account that looks right, with counts that can't be. */
static void lie(uint64_t generation, uint64_t count)
{
    for (uint32_t i = 0; i < HK_ACCOUNT_CLASSES; i++) {
        memset(&fake[i], 0xff, sizeof fake[i]);
        fake[i].version = HK_ACCOUNT_VERSION;
        fake[i].length = sizeof fake[i];
        fake[i].class_idx = i;
        fake[i].generation = generation;
        fake[i].allocs = count;
        HK_PROBE_FIRE(cache_report, i, &fake[i], generation, sizeof fake[i]);
    }
}

/* The same account told anew, a second and more later, from a time before. */
static void tell_older(void)
{
    static const uint64_t allocs[] = {1000, 400};
    for (unsigned round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < HK_ACCOUNT_CLASSES; i++) {
            memset(&fake[i], 0, sizeof fake[i]);
            fake[i].version = HK_ACCOUNT_VERSION;
            fake[i].length = sizeof fake[i];
            fake[i].class_idx = i;
            fake[i].generation = 3;
            fake[i].allocs = allocs[round];
            fake[i].frees = allocs[round] - 100;
        }
        HK_PROBE_FIRE(cache_report, 0, &fake[0], 3, sizeof fake[0]);
        usleep(1200000);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "older") == 0) {
        tell_older();
        return write(STDOUT_FILENO, "done\n", 5) == 5 && read(STDIN_FILENO, fake, 1) >= 0 ? 0 : 1;
    }
    static const uint64_t worst[] = {
        0, 1, 120, 121, 4096, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX, UINT64_MAX - 1};
    for (unsigned i = 0; i < sizeof worst / sizeof worst[0]; i++)
        fire_all(worst[i]);
    lie(1, 7);
    lie(0, UINT64_MAX);
    fire_all((uintptr_t)fake);
    return write(STDOUT_FILENO, "done\n", 5) == 5 && read(STDIN_FILENO, fake, 1) >= 0 ? 0 : 1;
}
