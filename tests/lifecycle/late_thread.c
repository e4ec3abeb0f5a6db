/* late_thread - calls in a thread after its cache is gone: destructors of thread-specific data in every iteration, and what
 * libc itself frees after them.
 *
 *   late_thread ROUNDS     each round starts and joins threads; what is live, and the threads, are then as before */
#include <limits.h>
#include <pthread.h>

#include "../behaviour/account_access.h"

#define THREADS 8u
#define KEYS 5u

static pthread_key_t keys[KEYS];

struct late {
    unsigned key, iteration, seed;
    void *blocks[40];
};

static void late_fill(struct late *late)
{
    uint64_t random = late->seed * 0x9e3779b97f4a7c15u + late->iteration + 1;
    for (unsigned i = 0; i < 40; i++) {
        size_t size = i % 8 == 0 ? random_between(&random, 1000, 200 * KIB) : random_between(&random, 8, 1040);
        mark(late->blocks[i] = take(size), size, (uint32_t)random);
    }
}

static void late_empty(struct late *late)
{
    for (unsigned i = 0; i < 40; i++) {
        check_marked(late->blocks[i], "late");
        free(late->blocks[i]);
    }
}

/* Comes back in each of the PTHREAD_DESTRUCTOR_ITERATIONS, with blocks of the iteration before. */
static void destructor(void *value)
{
    struct late *late = value;
    late_empty(late);
    if (++late->iteration >= PTHREAD_DESTRUCTOR_ITERATIONS) {
        free(late);
        return;
    }
    late_fill(late);
    if (late->iteration % 2 == 0)
        require((late = realloc(late, sizeof(*late) + late->iteration)) != NULL, "realloc");
    require(pthread_setspecific(keys[late->key], late) == 0, "pthread_setspecific");
}

static void *body(void *arg)
{
    for (unsigned k = 0; k < KEYS; k++) {
        struct late *late = take(sizeof(*late));
        *late = (struct late){.key = k, .seed = (unsigned)(uintptr_t)arg * KEYS + k};
        late_fill(late);
        require(pthread_setspecific(keys[k], late) == 0, "pthread_setspecific");
    }
    require(strerror(12345) != NULL, "strerror"); /* libc frees its text when the destructors have run */
    require(dlsym(RTLD_DEFAULT, "no such name") == NULL && dlerror() != NULL, "dlerror");
    return arg;
}

static struct hk_stats round_of_threads(unsigned seed)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        require(pthread_create(&threads[i], NULL, body, (void *)(seed * THREADS + i)) == 0, "pthread_create");
    for (unsigned i = 0; i < THREADS; i++)
        require(pthread_join(threads[i], NULL) == 0, "pthread_join");
    struct hk_stats stats;
    require(process_stats(&stats, sizeof(stats)) == 0, "hk_stats");
    return stats;
}

int main(int argc, char **argv)
{
    require(argc == 2, "usage: late_thread ROUNDS");
    account_open();
    for (unsigned k = 0; k < KEYS; k++)
        require(pthread_key_create(&keys[k], destructor) == 0, "pthread_key_create");
    struct hk_stats first = round_of_threads(0), last = first;
    for (int i = 1; i < atoi(argv[1]); i++)
        last = round_of_threads((unsigned)i);
    require(last.live_blocks == first.live_blocks && last.live_bytes == first.live_bytes,
            "live: %llu blocks, %llu bytes after the first round, %llu and %llu after the last",
            (unsigned long long)first.live_blocks, (unsigned long long)first.live_bytes,
            (unsigned long long)last.live_blocks, (unsigned long long)last.live_bytes);
    require(last.threads == first.threads && last.threads == 1, "%llu threads have a cache",
            (unsigned long long)last.threads);
    return 0;
}
