/* paired - two allocators under the same load in one process, in turns of some milliseconds: what the machine does meanwhile it does
 * to both. Each has slots and blocks of its own; which of a pair of turns comes first is drawn. The answer is one line:
 *
 *   ratio=SPEED_OF_A_OVER_SPEED_OF_B a_mops=MEDIAN b_mops=MEDIAN pairs=N
 *
 * ratio is the median over the pairs. A and B are loaded by dlopen, each with its own names; the program itself runs on neither. Two
 * libraries with static TLS need GLIBC_TUNABLES=glibc.rtld.optional_static_tls=8192. */
#include "common.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static uint64_t ws = 8192, ops = 200000, pairs = 400, warm_up = 40, burst;

struct allocator {
    void *(*take)(size_t size);
    void (*give)(void *ptr);
    void **slots;
    uint64_t random;
    double seconds;
};

static struct allocator allocators[2];

static void load(struct allocator *allocator, const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        die(dlerror());
    *(void **)&allocator->take = dlsym(library, "malloc");
    *(void **)&allocator->give = dlsym(library, "free");
    if (allocator->take == NULL || allocator->give == NULL)
        die("no malloc and free in a library");
    allocator->slots = own_pages((burst != 0 ? burst : ws) * sizeof(void *));
    allocator->random = random_seeded(seed);
}

/* The loop of random_mixed. */
static void mixed(struct allocator *allocator)
{
    uint64_t random = allocator->random, count = ws;
    for (uint64_t i = ops; i != 0; i--) {
        random = random_next(random);
        void **slot = &allocator->slots[random_high(random, count)];
        if (*slot != NULL) {
            allocator->give(*slot);
            *slot = NULL;
            continue;
        }
        char *block = allocator->take(random_size(random));
        if (block == NULL)
            die("malloc failed");
        *(volatile char *)block = 1;
        *slot = block;
    }
    allocator->random = random;
}

/* A round of burst's, in a thread whose cache is empty. */
static void *burst_round(void *arg)
{
    struct allocator *allocator = arg;
    uint64_t random = allocator->random;
    for (uint64_t i = 0; i < burst; i++) {
        random = random_next(random);
        char *block = allocator->take(random_size(random));
        if (block == NULL)
            die("malloc failed");
        *(volatile char *)block = 1;
        allocator->slots[i] = block;
    }
    for (uint64_t i = 0; i < burst; i++)
        allocator->give(allocator->slots[i]);
    allocator->random = random;
    return NULL;
}

static void turn(struct allocator *allocator)
{
    double began = now();
    if (burst == 0)
        mixed(allocator);
    for (uint64_t done = 0; burst != 0 && done < ops; done += 2 * burst)
        pthread_join(start_thread(burst_round, allocator, NULL), NULL);
    allocator->seconds = now() - began;
}

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

int main(int argc, char **argv)
{
    static const struct option_row options[] = {
        {"ws", &ws, 1, UINT32_MAX, "slots of each allocator"},
        {"ops", &ops, 1, UINT32_MAX, "steps of a turn"},
        {"pairs", &pairs, 1, 1 << 20, "pairs of turns that count"},
        {"warm-up", &warm_up, 0, 1 << 20, "pairs before them"},
        {"burst", &burst, 0, UINT32_MAX, "not random_mixed but new threads that allocate and free so many blocks each"},
        OPTIONS_OF_SIZE,
        OPTION_OF_SEED,
    };
    if (argc < 3 || argv[1][0] == '-' || argv[2][0] == '-')
        die("usage: paired LIBRARY_A LIBRARY_B [--OPTION VALUE]...; --help behind them tells the options");
    const char *paths[2] = {argv[1], argv[2]};
    argv[2] = argv[0];
    read_options(argc - 2, argv + 2, options, sizeof(options) / sizeof(*options));
    /* Where a library comes to lie must favour neither. */
    uint64_t random = random_seeded(seed + 1);
    unsigned first_loaded = (unsigned)(random >> 33 & 1);
    load(&allocators[first_loaded], paths[first_loaded]);
    load(&allocators[1 - first_loaded], paths[1 - first_loaded]);
    double *ratios = own_pages(3 * pairs * sizeof *ratios), *speeds[2] = {ratios + pairs, ratios + 2 * pairs};
    for (uint64_t pair = 0; pair < warm_up + pairs; pair++) {
        random = random_next(random);
        unsigned first = (unsigned)(random >> 33 & 1);
        turn(&allocators[first]);
        turn(&allocators[1 - first]);
        if (pair < warm_up)
            continue;
        uint64_t at = pair - warm_up;
        ratios[at] = allocators[1].seconds / allocators[0].seconds;
        for (unsigned i = 0; i < 2; i++)
            speeds[i][at] = (double)ops / allocators[i].seconds / 1e6;
    }
    printf("ratio=%.6f a_mops=%.3f b_mops=%.3f pairs=%llu\n", median(ratios, pairs), median(speeds[0], pairs),
           median(speeds[1], pairs), (unsigned long long)pairs);
    return 0;
}
