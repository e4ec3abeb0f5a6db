/* burst - round after round a thread allocates blocks of random sizes, writes the first byte of each, and frees all. An
 * operation is a malloc or a free. Each round has a new thread, whose cache is empty, unless all are of one (--one). */
#include "common.h"

static uint64_t rounds = 2000, count = 2000, one, reversed;
static uint64_t random_state;
static struct work total;
static void **blocks;

static void run_round(void)
{
    uint64_t random = random_state;
    for (uint64_t i = 0; i < count; i++) {
        random = random_next(random);
        blocks[i] = take_block(&total, random_size(random));
    }
    for (uint64_t i = 0; i < count; i++)
        free(blocks[reversed != 0 ? count - 1 - i : i]);
    random_state = random;
}

static void *run_rounds(void *arg)
{
    for (uint64_t round = *(uint64_t *)arg; round != 0; round--)
        run_round();
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct option_row options[] = {
        {"rounds", &rounds, 1, UINT64_MAX, "rounds"},
        {"count", &count, 1, UINT32_MAX, "blocks a round"},
        OPTIONS_OF_SIZE,
        OPTION_OF_SEED,
        {"one", &one, 0, 1, "one thread makes all rounds"},
        {"reversed", &reversed, 0, 1, "free the last block first"},
    };
    read_options(argc, argv, options, sizeof(options) / sizeof(*options));
    random_state = random_seeded(seed);
    blocks = own_pages(count * sizeof(*blocks));
    uint64_t rounds_each = one != 0 ? rounds : 1;
    total.began = now();
    for (uint64_t done = 0; done < rounds; done += rounds_each)
        pthread_join(start_thread(run_rounds, &rounds_each, NULL), NULL);
    total.ended = now();
    total.ops = 2 * total.allocs;
    answer(&total);
    return 0;
}
