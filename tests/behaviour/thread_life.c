/* thread_life - what threads cost that sleep, that end, and that have only begun.
 *
 *   thread_life sleepers THREADS MAX_KIB     RSS of a thread that sleeps after a little work, over one's without work
 *   thread_life born THREADS MAX_KIB         RSS that grows while threads are born, work and end
 *   thread_life crowd THREADS MAX_KIB        what the caches of threads hold that have only begun, all together */
#include <pthread.h>

#include "account_access.h"

#define AT_ONCE 8u

static pthread_barrier_t at_work, asleep;

#define MOST_BLOCKS 400u

/* Blocks of many classes, all of them freed again. 100: some 100 KiB pass through; 400: some 400. */
static void work(unsigned seed, unsigned count)
{
    void *blocks[MOST_BLOCKS];
    uint64_t random = (seed + 1) * 0x9e3779b97f4a7c15u;
    for (unsigned i = 0; i < count; i++) {
        size_t size = i % 50 == 0 ? random_between(&random, 2 * KIB, 32 * KIB) : random_between(&random, 16, 1040);
        memset(blocks[i] = take(size), 1, size);
    }
    for (unsigned i = 0; i < count; i++)
        free(blocks[i]);
}

static void *no_work_then_sleep(void *arg)
{
    volatile char stack[8192];
    memset((char *)stack, 1, sizeof(stack));
    pthread_barrier_wait(&at_work);
    pthread_barrier_wait(&asleep);
    return arg;
}

static void *work_then_sleep(void *arg)
{
    work((unsigned)(uintptr_t)arg, 100);
    return no_work_then_sleep(arg);
}

static void *work_then_end(void *arg)
{
    work((unsigned)(uintptr_t)arg, MOST_BLOCKS);
    return NULL;
}

/* RSS while `count` threads sleep. */
static size_t rss_of_sleepers(unsigned count, void *(*body)(void *))
{
    pthread_t *started = own_memory(count * sizeof(*started));
    pthread_attr_t small_stack;
    pthread_attr_init(&small_stack);
    pthread_attr_setstacksize(&small_stack, 64 * KIB);
    pthread_barrier_init(&at_work, NULL, count + 1);
    pthread_barrier_init(&asleep, NULL, count + 1);
    for (uintptr_t i = 0; i < count; i++)
        require(pthread_create(&started[i], &small_stack, body, (void *)i) == 0, "pthread_create, thread %zu",
                (size_t)i);
    pthread_barrier_wait(&at_work);
    size_t rss = rss_bytes();
    pthread_barrier_wait(&asleep);
    for (unsigned i = 0; i < count; i++)
        pthread_join(started[i], NULL);
    munmap(started, count * sizeof(*started));
    return rss;
}

static void sleepers(unsigned count, size_t most)
{
    size_t idle = rss_of_sleepers(count, no_work_then_sleep);
    size_t worked = rss_of_sleepers(count, work_then_sleep);
    size_t each = worked > idle ? (worked - idle) / count : 0;
    printf("%u threads: %.1f MiB without work, %.1f MiB with: %zu KiB for each\n", count, mib(idle), mib(worked),
           each / KIB);
    require(each <= most, "%zu KiB for each sleeping thread, at most %zu are allowed", each / KIB, most / KIB);
}

/* Compares the highest RSS of the first half of their lives with that of the second. */
static void born(unsigned count, size_t most)
{
    pthread_t started[AT_ONCE];
    size_t highest[2] = {0, 0};
    for (uintptr_t i = 0; i < count; i += AT_ONCE) {
        for (uintptr_t t = 0; t < AT_ONCE; t++)
            require(pthread_create(&started[t], NULL, work_then_end, (void *)(i + t)) == 0,
                    "pthread_create, thread %zu", (size_t)(i + t));
        for (unsigned t = 0; t < AT_ONCE; t++)
            pthread_join(started[t], NULL);
        size_t rss = rss_bytes(), half = i >= count / 2;
        highest[half] = rss > highest[half] ? rss : highest[half];
    }
    printf("highest RSS during the first half of %u threads %.1f MiB, during the second %.1f MiB\n", count,
           mib(highest[0]), mib(highest[1]));
    require(highest[1] <= highest[0] + most, "RSS grew by %.1f MiB", mib(highest[1] - highest[0]));
}

/* One block of each class that a cache holds, all freed again: 500 KiB pass through. */
static void *touch_each_class(void *arg)
{
    void *blocks[MAX_CLASSES];
    unsigned classes = account_cached_classes(arg);
    for (unsigned c = 0; c < classes; c++)
        blocks[c] = take(((struct account *)arg)->of[c].block_size);
    for (unsigned c = 0; c < classes; c++)
        free(blocks[c]);
    pthread_barrier_wait(&at_work);
    pthread_barrier_wait(&asleep);
    return NULL;
}

/* What leaves the caches when the threads end is what they held. */
static void crowd(unsigned count, size_t most)
{
    static struct account at_start, before_exit, after_exit;
    pthread_t *started = own_memory(count * sizeof(*started));
    pthread_barrier_init(&at_work, NULL, count + 1);
    pthread_barrier_init(&asleep, NULL, count + 1);
    account_open();
    account_read(&at_start);
    for (unsigned i = 0; i < count; i++)
        require(pthread_create(&started[i], NULL, touch_each_class, &at_start) == 0, "pthread_create, thread %u", i);
    pthread_barrier_wait(&at_work);
    account_read(&before_exit);
    pthread_barrier_wait(&asleep);
    for (unsigned i = 0; i < count; i++)
        pthread_join(started[i], NULL);
    account_read(&after_exit);
    size_t held = 0, missed = 0;
    for (unsigned c = 0; c < account_cached_classes(&at_start); c++) {
        held += (after_exit.of[c].drain_blocks - before_exit.of[c].drain_blocks) * at_start.of[c].block_size;
        missed += after_exit.of[c].misses - at_start.of[c].misses;
    }
    printf("%u threads missed %zu times and held %zu bytes\n", count, missed, held);
    require(missed >= count && held > 0, "the account knows of %zu misses and %zu bytes drained", missed, held);
    require(held <= most, "the threads' caches held %zu bytes, at most %zu are allowed", held, most);
}

int main(int argc, char **argv)
{
    require(argc == 4, "usage: thread_life sleepers|born|crowd THREADS MAX_KIB");
    unsigned count = (unsigned)strtoul(argv[2], NULL, 10);
    size_t most = strtoull(argv[argc - 1], NULL, 10) * KIB;
    if (strcmp(argv[1], "sleepers") == 0)
        sleepers(count, most);
    else if (strcmp(argv[1], "born") == 0)
        born(count, most);
    else if (strcmp(argv[1], "crowd") == 0)
        crowd(count, most);
    else
        fail("no such test: %s", argv[1]);
    return 0;
}
