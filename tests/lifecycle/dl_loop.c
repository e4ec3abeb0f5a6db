/* dl_loop - loads and unloads a library with thread_local destructors, over and over, with threads that used it and end
 * before or after the unloading, and a thread that allocates all the while.
 *
 *   dl_loop LIBRARY ROUNDS */
#include <pthread.h>

#include "../behaviour/account_access.h"

typedef size_t use_function(int);

static bool stop;

static void *allocate_on_and_on(void *arg)
{
    uint64_t random = 5;
    void *own[50] = {NULL};
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        unsigned i = (unsigned)random_next(&random) % 50;
        free(own[i]);
        own[i] = take(random_between(&random, 1, 3000));
    }
    for (unsigned i = 0; i < 50; i++)
        free(own[i]);
    return arg;
}

static void *use(void *library)
{
    use_function *use_here = (use_function *)dlsym(library, "thread_local_use");
    require(use_here != NULL && use_here(500) == 500 + 200 * 199 / 2 + 300 * 299 / 2, "thread_local_use");
    return NULL;
}

/* Closes the library first: its code stays until the thread's destructors have run. */
static void *use_and_close(void *library)
{
    use(library);
    require(dlclose(library) == 0, "dlclose");
    return NULL;
}

static void one_round(const char *path)
{
    pthread_t threads[4];
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    require(library != NULL, "%s", dlerror());
    void (*process_wide)(int) = (void (*)(int))dlsym(library, "process_wide_use");
    require(process_wide != NULL, "%s", dlerror());
    process_wide(100);
    for (unsigned i = 0; i < 4; i++) {
        void *again = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        require(pthread_create(&threads[i], NULL, i % 2 ? use : use_and_close, again) == 0, "pthread_create");
    }
    for (unsigned i = 0; i < 4; i++)
        require(pthread_join(threads[i], NULL) == 0, "pthread_join");
    for (unsigned i = 0; i < 2; i++)
        require(dlclose(library) == 0, "dlclose");
    require(dlclose(library) == 0, "dlclose");
}

static uint64_t live_bytes(void)
{
    struct hk_stats stats;
    require(process_stats(&stats, sizeof(stats)) == 0, "hk_stats");
    return stats.live_bytes;
}

int main(int argc, char **argv)
{
    require(argc == 3, "usage: dl_loop LIBRARY ROUNDS");
    account_open();
    int rounds = atoi(argv[2]);
    for (int i = 0; i < 3; i++)
        one_round(argv[1]);
    uint64_t before = live_bytes();
    pthread_t thread;
    require(pthread_create(&thread, NULL, allocate_on_and_on, NULL) == 0, "pthread_create");
    for (int i = 0; i < rounds; i++)
        one_round(argv[1]);
    void *library = dlopen(argv[1], RTLD_NOLOAD | RTLD_LAZY);
    require(library == NULL, "the library is never unloaded");
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    require(pthread_join(thread, NULL) == 0, "pthread_join");
    uint64_t after = live_bytes();
    require(after <= before + 64 * KIB, "live: %llu bytes after 3 rounds, %llu after %d more",
            (unsigned long long)before, (unsigned long long)after, rounds);
    return 0;
}
