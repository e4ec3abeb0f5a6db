/* last_round - threads whose first call of the allocator comes from a destructor of thread-specific data, in each of the rounds of
 * those, and which leave behind neither a stack nor anything that still needs it.
 *
 *   last_round THREADS     so many for each round */
#include <limits.h>
#include <pthread.h>
#include <sys/wait.h>

#include "../behaviour/account_access.h"

#define STACK (256 * KIB)
#define BATCH 4u

static pthread_key_t key;

static void destructor(void *value)
{
    uintptr_t rounds = (uintptr_t)value;
    if (rounds > 1) {
        require(pthread_setspecific(key, (void *)(rounds - 1)) == 0, "pthread_setspecific");
        return;
    }
    void *blocks[20];
    for (size_t i = 0; i < 20; i++)
        memset(blocks[i] = take(i * 50 + 16), 1, i * 50 + 16);
    for (size_t i = 0; i < 20; i++)
        free(blocks[i]);
}

static void *body(void *round)
{
    require(pthread_setspecific(key, round) == 0, "pthread_setspecific");
    return NULL;
}

/* At once, each on a stack that is gone afterwards. */
static void batch_of_threads(uintptr_t round)
{
    pthread_t threads[BATCH];
    char *stacks = mmap(NULL, BATCH * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(stacks != MAP_FAILED, "mmap");
    for (unsigned i = 0; i < BATCH; i++) {
        pthread_attr_t attr;
        require(pthread_attr_init(&attr) == 0 && pthread_attr_setstack(&attr, stacks + i * STACK, STACK) == 0 &&
                    pthread_create(&threads[i], &attr, body, (void *)round) == 0,
                "pthread_create");
    }
    for (unsigned i = 0; i < BATCH; i++)
        require(pthread_join(threads[i], NULL) == 0, "pthread_join");
    require(munmap(stacks, BATCH * STACK) == 0, "munmap");
}

/* A live block that bears the words of a free one: the allocator looks for it in the lists of all threads. */
static void look_at_all_lists(void)
{
    uint64_t *block = take(64);
    block[0] = UINT64_C(0xff81) << 48;
    block[1] = 0;
    free(block);
}

static void fork_and_allocate(void)
{
    int status;
    pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0) {
        look_at_all_lists();
        for (size_t size = 1; size < 100000; size *= 2)
            free(take(size));
        _exit(0);
    }
    require(waitpid(child, &status, 0) == child && status == 0, "the child ends with %x", (unsigned)status);
}

int main(int argc, char **argv)
{
    require(argc == 2, "usage: last_round THREADS");
    account_open();
    free(take(1)); /* the allocator's key comes first in each round */
    require(pthread_key_create(&key, destructor) == 0, "pthread_key_create");
    struct hk_stats stats;
    for (uintptr_t round = 1; round <= PTHREAD_DESTRUCTOR_ITERATIONS; round++) {
        uint64_t meta = 0;
        for (int i = 0; i < atoi(argv[1]); i += (int)BATCH) {
            batch_of_threads(round);
            look_at_all_lists();
            if (i % 100 == 0)
                fork_and_allocate();
            require(process_stats(&stats, sizeof(stats)) == 0, "hk_stats");
            if (i < 100)
                meta = stats.meta_bytes;
        }
        require(stats.threads <= 4 * BATCH, "round %zu: %llu threads have a cache", (size_t)round,
                (unsigned long long)stats.threads);
        require(stats.meta_bytes <= meta + MIB, "round %zu: %llu bytes of tables, %llu at first", (size_t)round,
                (unsigned long long)stats.meta_bytes, (unsigned long long)meta);
    }
    return 0;
}
