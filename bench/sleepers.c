/* sleepers - threads that each worked once, freed all, and now sleep: what is resident at the answer is what their caches
 * hold, beside their stacks. They work one after the other. An operation is a malloc or a free. */
#include "common.h"
#include <semaphore.h>

static uint64_t threads = 2000, blocks = 1000;
static struct work total;
static uint64_t random_state;
static sem_t worked, wake;

static void *work_and_sleep(void *arg)
{
    void **mine = arg;
    for (uint64_t i = 0; i < blocks; i++) {
        random_state = random_next(random_state);
        mine[i] = take_block(&total, random_size(random_state));
    }
    for (uint64_t i = 0; i < blocks; i++)
        free(mine[i]);
    sem_post(&worked);
    while (sem_wait(&wake) != 0)
        continue;
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct option_row options[] = {
        {"threads", &threads, 1, 20000, "threads"},
        {"blocks", &blocks, 1, UINT32_MAX, "blocks that each allocates and frees"},
        OPTIONS_OF_SIZE,
        OPTION_OF_SEED,
    };
    read_options(argc, argv, options, sizeof(options) / sizeof(*options));
    void **mine = own_pages(blocks * sizeof(*mine));
    pthread_t *all = own_pages(threads * sizeof(*all));
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, (size_t)128 << 10);
    sem_init(&worked, 0, 0);
    sem_init(&wake, 0, 0);
    random_state = random_seeded(seed);
    total.began = now();
    for (uint64_t t = 0; t < threads; t++) {
        all[t] = start_thread(work_and_sleep, mine, &small);
        while (sem_wait(&worked) != 0)
            continue;
    }
    total.ended = now();
    total.ops = 2 * total.allocs;
    answer(&total);
    for (uint64_t t = 0; t < threads; t++)
        sem_post(&wake);
    for (uint64_t t = 0; t < threads; t++)
        pthread_join(all[t], NULL);
    return 0;
}
