/* churn - a load whose live bytes are bounded while gigabytes pass through, in sizes that change with time.
 *
 *   churn LIVE_MIB TOTAL_MIB
 *
 * Every byte of each block is written: what the allocator keeps beyond what is live counts against the process's memory. */
#include "check.h"

#define SLOTS 60000u

static const struct phase {
    const char *name;
    size_t low, high;
} phases[] = {
    {"small", 600, 1040},   {"tiny", 700, 720},        {"mid", 1000, 32 * KIB},      {"large", 33 * KIB, MIB},
    {"huge", MIB, 6 * MIB}, {"mixed", 600, 200 * KIB}, {"one large size", MIB, MIB}, {"mid again", 9 * KIB, 20 * KIB},
};
#define PHASES (sizeof(phases) / sizeof(phases[0]))

static struct slot {
    void *ptr;
    size_t size;
} slots[SLOTS];
static size_t live, used; /* slots[0..used) hold blocks */

static void drop(size_t i)
{
    check_marked(slots[i].ptr, "churn");
    free(slots[i].ptr);
    live -= slots[i].size;
    slots[i] = slots[--used];
}

static void run_phase(const struct phase *phase, size_t most, size_t total, uint64_t *random)
{
    for (size_t passed = 0; passed < total;) {
        size_t size = random_between(random, phase->low, phase->high);
        while (live + size > most || used == SLOTS)
            drop(random_between(random, 0, used - 1));
        void *ptr = take(size);
        mark(ptr, size, (uint32_t)passed);
        slots[used++] = (struct slot){ptr, size};
        live += size;
        passed += size;
    }
}

int main(int argc, char **argv)
{
    require(argc == 3, "usage: churn LIVE_MIB TOTAL_MIB");
    size_t most = strtoull(argv[1], NULL, 10) * MIB, total = strtoull(argv[2], NULL, 10) * MIB, peak = 0;
    uint64_t random = 4242;
    for (unsigned round = 0; round < 2; round++)
        for (size_t i = 0; i < PHASES; i++) {
            run_phase(&phases[i], most, total / PHASES / 2, &random);
            size_t rss = rss_bytes();
            peak = rss > peak ? rss : peak;
            printf("%s: live %.1f, resident %.1f MiB\n", phases[i].name, mib(live), mib(rss));
            fflush(stdout);
        }
    while (used != 0)
        drop(used - 1);
    printf("highest of these %.1f MiB\n", mib(peak));
    return 0;
}
