/* libhandlers.c - preloaded before or after the allocator, so initialised after or before it: its constructor, its fork
 * handlers and its destructor allocate and free. The handlers of fork take a lock, under which other threads allocate too. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Many blocks of many classes: some of them take the slow paths. */
static void churn(void)
{
    void *blocks[200];
    for (size_t i = 0; i < 200; i++)
        if ((blocks[i] = malloc(16 + i * i)) == NULL)
            _exit(93);
    for (size_t i = 0; i < 200; i++)
        free(blocks[i]);
}

/* For threads of the program: allocates under the lock. */
void handlers_churn(void)
{
    pthread_mutex_lock(&lock);
    churn();
    pthread_mutex_unlock(&lock);
}

static void before_fork(void)
{
    churn();
    pthread_mutex_lock(&lock);
    churn();
}

static void after_fork(void)
{
    churn();
    pthread_mutex_unlock(&lock);
    churn();
}

__attribute__((constructor)) static void start(void)
{
    churn();
    if (pthread_atfork(before_fork, after_fork, after_fork) != 0)
        _exit(94);
}

__attribute__((destructor)) static void finish(void)
{
    churn();
}
