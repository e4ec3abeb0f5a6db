/* random_mixed - each step picks a slot at random: frees its block if it holds one, else allocates one of a random size
 * and writes its first byte.
 *
 *   random_mixed [--ops N] [--ws SLOTS] [--lo BYTES] [--hi BYTES] [--threads N] [--seed N] [--null]
 *
 *   --ops      steps of each thread (10000000)       --ws    slots of each thread (8192)
 *   --lo --hi  bounds of the sizes (16, 1040)        --null  the same loop without an allocator
 *
 * The steps depend on the options alone; `allocs` and `bytes` in the answer tell whether two runs did the same:
 *   mops=MILLION_STEPS_A_SECOND rss_kib=PEAK allocs=N bytes=REQUESTED malloc=FILE_THAT_DEFINES_IT */
#include <dlfcn.h>
#include <getopt.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static uint64_t ops = 10000000, ws = 8192, lo = 16, hi = 1040, threads = 1, seed = 1;
static bool null;

static char nothing[64];
static pthread_barrier_t start;

struct worker {
    pthread_t thread;
    void **slots;
    uint64_t random, allocs, bytes;
    double began, ended; /* by the worker's own clock reads: main may be scheduled late */
};

static void die(const char *why)
{
    fprintf(stderr, "random_mixed: %s\n", why);
    exit(2);
}

/* xorshift64: the high half picks the slot, the low half the size. */
static inline uint64_t random_next(uint64_t x)
{
    x ^= x << 13;
    x ^= x >> 7;
    return x ^ x << 17;
}

static inline __attribute__((always_inline)) void run_loop(struct worker *worker, bool without)
{
    void **slots = worker->slots;
    uint64_t random = worker->random, allocs = 0, bytes = 0, span = hi - lo + 1, count = ws;
    for (uint64_t i = ops; i != 0; i--) {
        random = random_next(random);
        void **slot = &slots[(random >> 32) * count >> 32];
        if (*slot != NULL) {
            if (!without)
                free(*slot);
            *slot = NULL;
            continue;
        }
        size_t size = lo + ((random & UINT32_MAX) * span >> 32);
        char *block = without ? nothing : malloc(size);
        if (block == NULL)
            die("malloc failed");
        *(volatile char *)block = 1;
        *slot = block;
        allocs++;
        bytes += size;
    }
    worker->allocs = allocs;
    worker->bytes = bytes;
}

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    pthread_barrier_wait(&start);
    worker->began = now();
    if (null)
        run_loop(worker, true);
    else
        run_loop(worker, false);
    worker->ended = now();
    return NULL;
}

/* The process's own peak in KiB; getrusage would tell that of the parent, were it higher. */
static unsigned long peak_kib(void)
{
    char line[256];
    unsigned long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    if (status == NULL)
        die("can't open /proc/self/status");
    while (fgets(line, sizeof(line), status) != NULL)
        if (sscanf(line, "VmHWM: %lu", &kib) == 1)
            break;
    fclose(status);
    return kib;
}

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {{"ops", 1, NULL, 'o'},     {"ws", 1, NULL, 'w'},   {"lo", 1, NULL, 'l'},
                                            {"hi", 1, NULL, 'h'},      {"seed", 1, NULL, 's'}, {"null", 0, NULL, 'n'},
                                            {"threads", 1, NULL, 't'}, {NULL, 0, NULL, 0}};
    for (int which; (which = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint64_t value = optarg == NULL ? 0 : strtoull(optarg, NULL, 10);
        switch (which) {
        case 'o':
            ops = value;
            break;
        case 'w':
            ws = value;
            break;
        case 'l':
            lo = value;
            break;
        case 'h':
            hi = value;
            break;
        case 's':
            seed = value;
            break;
        case 't':
            threads = value;
            break;
        case 'n':
            null = true;
            break;
        default:
            die("see the head of random_mixed.c for the options");
        }
    }
    if (optind != argc || ops == 0 || ws == 0 || ws > UINT32_MAX || lo == 0 || hi < lo || hi > UINT32_MAX ||
        threads == 0 || threads > 1024)
        die("an option is out of bounds");
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    size_t slot_bytes = ws * sizeof(void *), bytes = threads * (sizeof(struct worker) + slot_bytes);
    char *books = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (books == MAP_FAILED)
        die("no memory for the slots");
    struct worker *workers = (struct worker *)(void *)books;
    memset(books, 0, bytes); /* so that the first touch of a slot costs no page fault */

    pthread_barrier_init(&start, NULL, (unsigned)threads);
    for (uint64_t t = 0; t < threads; t++) {
        workers[t].slots = (void **)(void *)(books + threads * sizeof(struct worker) + t * slot_bytes);
        workers[t].random = (seed * threads + t + 1) * 0x9e3779b97f4a7c15u;
        if (pthread_create(&workers[t].thread, NULL, work, &workers[t]) != 0)
            die("can't start a thread");
    }

    uint64_t allocs = 0, requested = 0;
    double began = 0, ended = 0;
    for (uint64_t t = 0; t < threads; t++) {
        pthread_join(workers[t].thread, NULL);
        allocs += workers[t].allocs;
        requested += workers[t].bytes;
        began = t == 0 || workers[t].began < began ? workers[t].began : began;
        ended = workers[t].ended > ended ? workers[t].ended : ended;
    }
    Dl_info where = {0};
    void *(*function)(size_t) = malloc;
    dladdr(*(void **)&function, &where);
    printf("mops=%.3f rss_kib=%lu allocs=%llu bytes=%llu malloc=%s\n", (double)(ops * threads) / (ended - began) / 1e6,
           peak_kib(), (unsigned long long)allocs, (unsigned long long)requested,
           where.dli_fname == NULL ? "?" : where.dli_fname);
    return 0;
}
