/* churn - a load whose live bytes are bounded while gigabytes pass through it.
 *
 *   churn steady LIVE_MIB TOTAL_MIB      small, mid and large blocks at once, replaced at random
 *   churn changing LIVE_MIB TOTAL_MIB    sizes that change with time; one of the oldest quarter goes for each new block
 *
 * Every byte of each block is written: what the allocator keeps beyond what is live, the system counts. */
#include "check.h"

#define SLOTS (1u << 17) /* a ring; a power of two */

static const struct phase {
    const char *name;
    size_t low, high;
} phases[] = {
    {"small", 400, 1040},         {"one small size", 700, 700},
    {"mid", 1000, 32 * KIB},      {"large", 33 * KIB, MIB},
    {"huge", MIB, 6 * MIB},       {"small to large", 500, 200 * KIB},
    {"one large size", MIB, MIB}, {"larger mid", 9 * KIB, 20 * KIB},
};
#define PHASES (sizeof(phases) / sizeof(phases[0]))

static struct slot {
    void *ptr;
    size_t size;
} slots[SLOTS];
static size_t live, oldest, used, peak; /* slots[oldest .. oldest + used) hold blocks */

static struct slot *slot_at(size_t i)
{
    return &slots[(oldest + i) & (SLOTS - 1)];
}

/* Ends one of the `among` oldest blocks. */
static void drop(uint64_t *random, size_t among)
{
    struct slot *chosen = slot_at(random_between(random, 0, among - 1));
    check_marked(chosen->ptr, "churn");
    free(chosen->ptr);
    live -= chosen->size;
    *chosen = *slot_at(0);
    oldest++;
    used--;
}

static void add(size_t size, uint32_t tag)
{
    void *ptr = take(size);
    mark(ptr, size, tag);
    *slot_at(used++) = (struct slot){ptr, size};
    live += size;
}

/* Equal shares of the bytes for small and mid blocks, the most of them for large ones. */
static size_t steady_size(uint64_t *random)
{
    uint64_t pick = random_next(random) >> 20 & 127;
    if (pick == 0)
        return random_between(random, 33 * KIB, MIB);
    return pick < 7 ? random_between(random, KIB, 32 * KIB) : random_between(random, 16, 1040);
}

static void pass(const struct phase *phase, size_t most, size_t total, uint64_t *random)
{
    for (size_t passed = 0; passed < total;) {
        size_t size = phase == NULL ? steady_size(random) : random_between(random, phase->low, phase->high);
        while (live + size > most || used == SLOTS)
            drop(random, phase == NULL ? used : used / 4 + 1);
        add(size, (uint32_t)passed);
        passed += size;
    }
    size_t rss = rss_bytes();
    peak = rss > peak ? rss : peak;
    printf("%s: live %.1f, resident %.1f MiB\n", phase == NULL ? "steady" : phase->name, mib(live), mib(rss));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    require(argc == 4, "usage: churn steady|changing LIVE_MIB TOTAL_MIB");
    bool steady = strcmp(argv[1], "steady") == 0;
    size_t most = strtoull(argv[2], NULL, 10) * MIB, total = strtoull(argv[3], NULL, 10) * MIB;
    uint64_t random = 4242;
    for (unsigned round = 0; round < 2; round++)
        for (size_t i = 0; i < PHASES; i++)
            pass(steady ? NULL : &phases[i], most, total / PHASES / 2, &random);
    while (used != 0)
        drop(&random, used);
    printf("highest of these %.1f MiB\n", mib(peak));
    return 0;
}
