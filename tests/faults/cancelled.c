/* cancelled - threads are cancelled while they allocate; their cleanup handlers and thread-specific data free, and another thread
 * frees what they left elsewhere.
 *
 * usage: cancelled COUNT */
#include <pthread.h>

#include "../behaviour/check.h"

#define LEFT 16

static pthread_key_t key;
static void *left[LEFT]; /* atomic */

static void release(void *block)
{
    free(block);
}

static void *work(void *arg)
{
    pthread_setspecific(key, malloc(200));
    for (volatile unsigned i = 0;; i++) {
        void *block = malloc(1 + i % 4000);
        require(block != NULL, "out of memory");
        pthread_cleanup_push(release, block);
        pthread_testcancel();
        pthread_cleanup_pop(0);
        block = __atomic_exchange_n(&left[i % LEFT], block, __ATOMIC_ACQ_REL);
        free(block);
    }
    return arg;
}

/* As much as a run of threads leaves; more than that is a leak. */
static size_t resident_after(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        pthread_t thread;
        void *result;
        require(pthread_create(&thread, NULL, work, NULL) == 0, "no thread");
        while (__atomic_load_n(&left[i % LEFT], __ATOMIC_ACQUIRE) == NULL)
            continue;
        require(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED,
                "not cancelled");
        free(__atomic_exchange_n(&left[i % LEFT], NULL, __ATOMIC_ACQ_REL));
    }
    return rss_bytes();
}

int main(int argc, char **argv)
{
    unsigned count = argc == 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    require(count > 0 && pthread_key_create(&key, release) == 0, "usage: cancelled COUNT");
    size_t first = resident_after(count / 4), last = resident_after(count);
    require(last < first + 2 * MIB, "%zu KiB after a quarter of the threads, %zu after all", first / KIB, last / KIB);
    puts("good");
    return 0;
}
