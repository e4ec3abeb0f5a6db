/* phases - a program whose blocks change: it fills all slots with blocks of one range of sizes, frees half of them at
 * random, fills up with another range, and so on. At the answer all slots are full. An operation is a malloc or a free. */
#include "common.h"

/* The least size of each phase; the most is twice that. Small after large and large after small. */
static const uint16_t phase_sizes[] = {16, 256, 48, 1024, 32, 512, 128, 2048, 24, 384, 64, 768};
#define PHASES (sizeof(phase_sizes) / sizeof(*phase_sizes))

static uint64_t slots = 200000, rounds = 4;

int main(int argc, char **argv)
{
    static const struct option_row options[] = {
        {"slots", &slots, 1, UINT32_MAX, "slots"},
        {"rounds", &rounds, 1, UINT32_MAX, "times that all phases run"},
        OPTION_OF_SEED,
    };
    read_options(argc, argv, options, sizeof(options) / sizeof(*options));
    void **blocks = own_pages(slots * sizeof(*blocks));
    uint64_t random = random_seeded(seed), frees = 0;
    struct work work = {.began = now()};
    for (uint64_t phase = 0; phase < rounds * PHASES; phase++) {
        uint64_t size = phase_sizes[phase % PHASES];
        for (uint64_t s = 0; s < slots; s++) {
            random = random_next(random);
            if (blocks[s] != NULL && random >> 63 != 0) {
                free(blocks[s]);
                blocks[s] = NULL;
                frees++;
            }
        }
        for (uint64_t s = 0; s < slots; s++) {
            random = random_next(random);
            if (blocks[s] == NULL)
                blocks[s] = take_block(&work, size + random_low(random, size));
        }
    }
    work.ended = now();
    work.ops = work.allocs + frees;
    answer(&work);
    return 0;
}
