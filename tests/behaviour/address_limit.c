/* address_limit - under `ulimit -v 200000` the program gets its memory, can use again what it freed, survives ENOMEM.
 *
 *   address_limit LIVE_MB    how many MB of blocks must be live at once
 *
 * Sizes are 16 B .. 100 KiB and now and then some MiB. */
#include <sys/resource.h>

#include "check.h"

#define SLOTS 200000u

static void *blocks[SLOTS];
static size_t count, held;

/* Each way to fill the memory has its own mixture, so that one round's blocks don't fit where another's were. */
enum mixture { MIXED, TINY, LARGE, MIXTURES };

static size_t next_size(enum mixture mixture, uint64_t *random)
{
    switch (mixture) {
    case TINY:
        return random_between(random, 600, 1500);
    case LARGE:
        return random_between(random, 40 * KIB, 3 * MIB);
    default:
        break;
    }
    switch (random_next(random) >> 20 & 31) {
    case 0:
        return random_between(random, MIB, 4 * MIB);
    case 1:
    case 2:
    case 3:
    case 4:
        return random_between(random, 8 * KIB, 100 * KIB);
    default:
        return random_between(random, 16, 2000);
    }
}

/* Allocates until `most` bytes are live or malloc refuses; false: it refused. */
static bool fill(enum mixture mixture, size_t most, uint64_t seed)
{
    uint64_t random = seed;
    while (held < most && count < SLOTS) {
        size_t size = next_size(mixture, &random);
        errno = 0;
        void *ptr = opaque(malloc(size));
        if (ptr == NULL) {
            require(errno == ENOMEM, "malloc(%zu) is NULL with errno %d, not ENOMEM", size, errno);
            return false;
        }
        mark(ptr, size, (uint32_t)count);
        blocks[count++] = ptr;
        held += size;
    }
    return held >= most;
}

static void release(void)
{
    for (size_t i = 0; i < count; i++) {
        require(((struct marked *)blocks[i])->tag == (uint32_t)i, "block %p has another block's tag", blocks[i]);
        check_marked(blocks[i], "release");
        free(blocks[i]);
    }
    count = held = 0;
}

int main(int argc, char **argv)
{
    require(argc == 2, "usage: address_limit LIVE_MB");
    size_t live = strtoull(argv[1], NULL, 10) * 1000 * 1000;
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    require(limit.rlim_cur != RLIM_INFINITY, "no limit on the address space: nothing is tested");

    for (unsigned round = 0; round < 6; round++) {
        enum mixture mixture = (enum mixture)(round % MIXTURES);
        bool got_all = fill(mixture, live, 77 + round);
        require(got_all, "round %u, mixture %d: only %.1f of %.1f MB in %zu blocks were to be had", round, (int)mixture,
                (double)held / 1e6, (double)live / 1e6, count);
        release();
    }
    for (unsigned round = 0; round < 6; round++) {
        enum mixture mixture = (enum mixture)(round % MIXTURES);
        bool got_all = fill(mixture, SIZE_MAX, 177 + round);
        require(!got_all && count < SLOTS, "round %u: the limit was not met with %zu blocks", round, count);
        require(held > live,
                "round %u, mixture %d: the memory ended at %.1f MB of %zu blocks, less than the %.1f that were "
                "there before",
                round, (int)mixture, (double)held / 1e6, count, (double)live / 1e6);
        printf("mixture %d: %.1f MB until ENOMEM\n", (int)mixture, (double)held / 1e6);
        require(opaque(malloc(1000 * MIB)) == NULL && errno == ENOMEM, "malloc of 1000 MiB should fail with ENOMEM");
        release();
        void *one = take(100000);
        free(one);
    }
    return 0;
}
