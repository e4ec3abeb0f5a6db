/* aftermath - what stays resident after the work: blocks of --mib in all are allocated, all but --kept of them freed, those
 * spread evenly, and for --wait milliseconds there is light work: 100 operations a millisecond. What is resident then is
 * the answer's end_kib. An operation is a malloc or a free of the first part. */
#include "common.h"
#include <sys/mman.h>
#include <unistd.h>

#define LIGHT_SLOTS 64u
#define LIGHT_STEPS 100u

static uint64_t mib = 256, kept = 1000, wait = 2000;

static void light_work(uint64_t random)
{
    void *slots[LIGHT_SLOTS] = {NULL};
    struct work unused = {0}; /* how much of it there is depends on the scheduler */
    for (double end = now() + (double)wait * 1e-3; now() < end; usleep(1000))
        for (unsigned i = 0; i < LIGHT_STEPS; i++) {
            random = random_next(random);
            void **slot = &slots[random_high(random, LIGHT_SLOTS)];
            if (*slot != NULL) {
                free(*slot);
                *slot = NULL;
            } else {
                *slot = take_block(&unused, random_size(random));
            }
        }
    for (unsigned s = 0; s < LIGHT_SLOTS; s++)
        free(slots[s]);
}

int main(int argc, char **argv)
{
    static const struct option_row options[] = {
        {"mib", &mib, 1, 1 << 20, "MiB of blocks"},
        {"kept", &kept, 1, UINT32_MAX, "blocks that are not freed"},
        {"wait", &wait, 0, UINT32_MAX, "milliseconds of light work"},
        OPTIONS_OF_SIZE,
        OPTION_OF_SEED,
    };
    read_options(argc, argv, options, sizeof(options) / sizeof(*options));
    uint64_t count = (mib << 20) / ((size_lo + size_hi) / 2 + 1), random = random_seeded(seed);
    size_t book_bytes = count * sizeof(void *);
    void **blocks = own_pages(book_bytes);
    struct work work = {.began = now()};
    for (uint64_t i = 0; i < count; i++) {
        random = random_next(random);
        blocks[i] = take_block(&work, random_size(random));
    }
    uint64_t spread = count / kept + 1, frees = 0;
    for (uint64_t i = 0; i < count; i++)
        if (i % spread != 0) {
            free(blocks[i]);
            frees++;
        }
    work.ended = now();
    work.ops = work.allocs + frees;
    munmap(blocks, book_bytes);
    light_work(random);
    answer(&work);
    return 0;
}
