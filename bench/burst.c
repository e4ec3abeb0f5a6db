/* burst - round after round a new thread, whose cache is empty, allocates blocks of random sizes, writes the first byte of
 * each, frees all, and ends: a load that misses as often as a load can.
 *
 *   burst [--rounds N] [--count BLOCKS] [--lo BYTES] [--hi BYTES] [--seed N]
 *
 *   --rounds  (2000)    --count  blocks a round (2000)    --lo --hi  bounds of the sizes (16, 1040)
 *
 * It answers as random_mixed does; an operation is a malloc or a free. */
#include <dlfcn.h>
#include <getopt.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

static uint64_t rounds = 2000, count = 2000, lo = 16, hi = 1040, seed = 1;
static uint64_t random_state, bytes;
static void **blocks;

static void die(const char *why)
{
    fprintf(stderr, "burst: %s\n", why);
    exit(2);
}

/* G. Marsaglia, "Xorshift RNGs", 2003. */
static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void *run_round(void *unused)
{
    for (uint64_t i = 0; i < count; i++) {
        size_t size = lo + ((next_random() & UINT32_MAX) * (hi - lo + 1) >> 32);
        blocks[i] = malloc(size);
        if (blocks[i] == NULL)
            die("malloc failed");
        *(volatile char *)blocks[i] = 1;
        bytes += size;
    }
    for (uint64_t i = 0; i < count; i++)
        free(blocks[i]);
    return unused;
}

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {{"rounds", 1, NULL, 'r'}, {"count", 1, NULL, 'c'}, {"lo", 1, NULL, 'l'},
                                            {"hi", 1, NULL, 'h'},     {"seed", 1, NULL, 's'},  {NULL, 0, NULL, 0}};
    for (int which; (which = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint64_t *option = which == 'r'   ? &rounds
                           : which == 'c' ? &count
                           : which == 'l' ? &lo
                           : which == 'h' ? &hi
                           : which == 's' ? &seed
                                          : NULL;
        if (option == NULL)
            die("see the head of burst.c for the options");
        *option = strtoull(optarg, NULL, 10);
    }
    if (optind != argc || rounds == 0 || count == 0 || count > UINT32_MAX || lo == 0 || hi < lo || hi > UINT32_MAX ||
        seed == 0)
        die("an option is out of bounds");
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    random_state = seed * 0x9e3779b97f4a7c15u;
    blocks =
        mmap(NULL, count * sizeof(*blocks), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (blocks == MAP_FAILED)
        die("no memory for the blocks");
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (uint64_t round = 0; round < rounds; round++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, run_round, NULL) != 0 || pthread_join(thread, NULL) != 0)
            die("can't start a thread");
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double seconds = (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) * 1e-9;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    Dl_info where = {0};
    void *(*function)(size_t) = malloc;
    dladdr(*(void **)&function, &where);
    printf("mops=%.3f rss_kib=%ld allocs=%llu bytes=%llu malloc=%s\n", (double)(rounds * count * 2) / seconds / 1e6,
           usage.ru_maxrss, (unsigned long long)(rounds * count), (unsigned long long)bytes,
           where.dli_fname == NULL ? "?" : where.dli_fname);
    return 0;
}
