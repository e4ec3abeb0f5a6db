/* goes_back - memory that the program freed goes back to the system while it goes on with light work.
 *
 *   goes_back MIB KEEP WORK MAX_MIB [one]
 *
 * Allocates MIB MiB in blocks of 16..515 bytes (`one`: of 64 bytes), frees all but KEEP in an order that has nothing to
 * do with their addresses, works for a second (more, where the machine is busy) and compares the RSS, less its own index, with MAX_MIB.
 *   KEEP  spread    1,000 blocks at equal distances     last      the last 300 KB
 *   WORK  busy      every ms 50 blocks of many classes  one-class the same of one class    sparse  100 calls a second
 * MAX_MIB 0: the claim is on mappings instead: /proc/self/maps under 500 lines at the peak and at the end. */
#include "check.h"

#define MAX_MAP_LINES 500

static void **blocks; /* the index: in memory of its own, all of it resident */
static size_t count, index_bytes;

static void grow(size_t bytes, bool one_size)
{
    uint64_t random = 88172645463325252u;
    size_t held = 0;
    index_bytes = (bytes / (one_size ? 64 : 200) + 1) * sizeof(*blocks);
    blocks = own_memory(index_bytes);
    memset(blocks, 1, index_bytes);
    while (held < bytes) {
        size_t size = one_size ? 64 : random_between(&random, 16, 515);
        require(count < index_bytes / sizeof(*blocks), "the index is too small");
        blocks[count] = take(size);
        memset(blocks[count++], 0x5a, size);
        held += size;
    }
}

/* Frees blocks[i] for every i in a full cycle of steps that are coprime to their number. */
static void shrink(bool spread)
{
    size_t step = count / 2 + 1, keep_last = 300 * 1000 / 265, distance = count / 1000;
    while (step % 2 == 0 || step % 3 == 0 || step % 5 == 0 || step % 7 == 0 || step % 11 == 0)
        step++;
    for (size_t n = 0, i = 0; n < count; n++, i = (i + step) % count) {
        bool keep = spread ? i % distance == 0 : i >= count - keep_last;
        if (!keep && blocks[i] != NULL) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
    }
    for (size_t i = 0; i < count; i++) /* what the steps, not being coprime to every count, have left out */
        if (blocks[i] != NULL && !(spread ? i % distance == 0 : i >= count - keep_last)) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
}

static void work(const char *kind)
{
    uint64_t random = 1234567, end = now_ms() + 1000;
    bool sparse = strcmp(kind, "sparse") == 0, one_class = strcmp(kind, "one-class") == 0;
    /* A second, and as much work as that is on a machine that does nothing else. */
    for (unsigned turn = 0; now_ms() < end || turn < (sparse ? 40 : 500); turn++) {
        for (int i = 0; i < (sparse ? 1 : 50); i++) {
            void *ptr = take(one_class || sparse ? 64 : random_between(&random, 16, 4000));
            *(volatile char *)ptr = 1;
            free(ptr);
        }
        sleep_us(sparse ? 20000 : 1000);
    }
}

static void check_survivors(void)
{
    size_t survivors = 0;
    for (size_t i = 0; i < count; i++)
        if (blocks[i] != NULL) {
            const unsigned char *block = blocks[i];
            for (int b = 0; b < 16; b++)
                require(block[b] == 0x5a, "block %p, which lives, was overwritten", blocks[i]);
            survivors++;
        }
    printf("blocks that live: %zu of %zu\n", survivors, count);
}

int main(int argc, char **argv)
{
    require(argc >= 5, "usage: goes_back MIB spread|last busy|one-class|sparse MAX_MIB [one]");
    size_t bytes = strtoull(argv[1], NULL, 10) * MIB, most = strtoull(argv[4], NULL, 10) * MIB;
    setvbuf(stdout, NULL, _IONBF, 0);

    grow(bytes, argc > 5);
    size_t lines_peak = map_lines(), peak = rss_bytes() - index_bytes;
    shrink(strcmp(argv[2], "spread") == 0);
    size_t freed = rss_bytes() - index_bytes;
    work(argv[3]);
    size_t rest = rss_bytes() - index_bytes, lines = map_lines();

    printf("RSS less index: peak %.1f, when freed %.1f, after a second of %s work %.1f MiB; map lines %zu, then %zu\n",
           mib(peak), mib(freed), argv[3], mib(rest), lines_peak, lines);
    require(peak > bytes, "the peak of %.1f MiB is less than what was allocated", mib(peak));
    check_survivors();
    if (most == 0)
        require(lines_peak < MAX_MAP_LINES && lines < MAX_MAP_LINES, "/proc/self/maps has %zu lines, then %zu",
                lines_peak, lines);
    else
        require(rest < most, "%.1f MiB are resident, at most %.1f are allowed", mib(rest), mib(most));
    return 0;
}
