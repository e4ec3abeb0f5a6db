/* generations - a server's life: slots full of blocks are handed from thread to thread. A life is a thread that replaces
 * blocks of random slots by new ones, starts its successor, and ends; several lines of such threads live side by side.
 * With --sweep a life frees every block that it inherits and fills all slots anew: each block outlives its thread.
 * An operation is a malloc or a free. */
#include "common.h"

static uint64_t lines = 2, lives = 100, slots = 1000, steps = 10000, sweep;
static pthread_attr_t detached;
static pthread_barrier_t ended;

struct line {
    void **slots;
    uint64_t random, lives_left;
    struct work work;
};

static void replace(struct line *line, void **slot)
{
    line->random = random_next(line->random);
    *slot = take_block(&line->work, random_size(line->random));
}

static void live_by_sweep(struct line *line)
{
    for (uint64_t s = 0; s < slots; s++)
        free(line->slots[s]);
    for (uint64_t s = 0; s < slots; s++)
        replace(line, &line->slots[s]);
}

static void live_at_random(struct line *line)
{
    for (uint64_t i = 0; i < steps; i++) {
        void **slot = &line->slots[random_high(line->random, slots)];
        free(*slot);
        replace(line, slot);
    }
}

static void *live(void *arg)
{
    struct line *line = arg;
    if (sweep != 0)
        live_by_sweep(line);
    else
        live_at_random(line);
    if (--line->lives_left != 0)
        start_thread(live, line, &detached);
    else
        pthread_barrier_wait(&ended);
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct option_row options[] = {
        {"lines", &lines, 1, 256, "lines of threads side by side"},
        {"lives", &lives, 1, UINT32_MAX, "threads of each line, one after the other"},
        {"slots", &slots, 1, UINT32_MAX, "slots of each line"},
        {"steps", &steps, 1, UINT32_MAX, "blocks that a life replaces"},
        OPTIONS_OF_SIZE,
        OPTION_OF_SEED,
        {"sweep", &sweep, 0, 1, "a life replaces every slot's block once, all at a time"},
    };
    read_options(argc, argv, options, sizeof(options) / sizeof(*options));
    struct line *books = own_pages(lines * sizeof(*books));
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_barrier_init(&ended, NULL, (unsigned)lines + 1);
    for (uint64_t l = 0; l < lines; l++) {
        struct line *line = &books[l];
        line->slots = own_pages(slots * sizeof(void *));
        line->random = random_seeded(seed * lines + l);
        line->lives_left = lives;
        for (uint64_t s = 0; s < slots; s++)
            replace(line, &line->slots[s]);
        line->work = (struct work){0};
    }
    struct work total = {.began = now()};
    for (uint64_t l = 0; l < lines; l++)
        start_thread(live, &books[l], &detached);
    pthread_barrier_wait(&ended);
    total.ended = now();
    for (uint64_t l = 0; l < lines; l++) {
        total.allocs += books[l].work.allocs;
        total.bytes += books[l].work.bytes;
    }
    total.ops = 2 * total.allocs;
    answer(&total);
    return 0;
}
