/* late_limit - RLIMIT_AS lowered, below what the process has reserved, when blocks were freed: what the allocator doesn't use becomes
 * usable for every size; also where live blocks lie all over it. Then, the limit raised again, new blocks may lie between those.
 *
 *   late_limit KEEP    one block in KEEP stays live; 0: none */
#include <sys/resource.h>

#include "account_access.h"

#define BLOCKS 200000u
#define SIZE 2000u
#define LIMIT (300 * MIB)

static char *blocks[BLOCKS], *more[BLOCKS];

static void fill(char **into)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        mark(into[i] = take(SIZE), SIZE, i);
}

static void give(char **from, unsigned i)
{
    check_marked(from[i], "a block");
    free(from[i]);
    from[i] = NULL;
}

static void set_limit(rlim_t bytes)
{
    struct rlimit limit;
    require(getrlimit(RLIMIT_AS, &limit) == 0, "getrlimit");
    limit.rlim_cur = bytes;
    require(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
}

static void each_size_is_served(void)
{
    for (size_t size = 16; size <= 100 * MIB; size = size * 5 / 3) {
        char *block = take(size);
        memset(block, 1, size);
        char *larger = opaque(realloc(block, size + size / 2));
        require(larger != NULL, "realloc from %zu", size);
        free(larger);
    }
}

/* To the end, and again when what was had is free: as much. */
static size_t until_refused(size_t size)
{
    void *last = NULL, *block;
    size_t count = 0;
    for (errno = 0; (block = opaque(malloc(size))) != NULL; count++, errno = 0) {
        *(void **)block = last;
        last = block;
    }
    require(errno == ENOMEM, "malloc(%zu) refuses with errno %d", size, errno);
    for (; last != NULL; last = block) {
        block = *(void **)last;
        free(last);
    }
    return count;
}

int main(int argc, char **argv)
{
    require(argc == 2, "usage: late_limit KEEP");
    unsigned keep = (unsigned)atoi(argv[1]), between = 0;
    char *low = NULL, *high = NULL;
    account_open();
    fill(blocks);
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (keep == 0 || i % keep != 0) {
            give(blocks, i);
            continue;
        }
        low = low == NULL || blocks[i] < low ? blocks[i] : low;
        high = blocks[i] > high ? blocks[i] : high;
    }
    set_limit(LIMIT);
    each_size_is_served();
    static const size_t sizes[] = {64, 1000, 30000, 200000, 3 * MIB};
    for (unsigned n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        size_t first = until_refused(sizes[n]), second = until_refused(sizes[n]);
        require(first * sizes[n] > LIMIT / 3, "only %zu blocks of %zu bytes", first, sizes[n]);
        require(second > first - first / 20, "%zu blocks of %zu bytes, then %zu", first, sizes[n], second);
    }
    each_size_is_served();
    set_limit(RLIM_INFINITY);
    fill(more);
    for (unsigned i = 0; i < BLOCKS; i++)
        between += more[i] > low && more[i] < high;
    printf("%u of %u new blocks lie between old ones\n", between, BLOCKS);
    for (unsigned i = 0; i < BLOCKS; i++)
        give(more, i);
    for (unsigned i = 0; keep != 0 && i < BLOCKS; i += keep)
        give(blocks, i);
    trim();
    each_size_is_served();
    return 0;
}
