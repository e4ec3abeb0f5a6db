/* libatfork.c - its constructor installs handlers of fork before anything else, those of an allocator in the program included: so its
 * handler before a fork is called after theirs. It allocates, as the others do. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static void churn(void)
{
    void *blocks[200];
    for (size_t i = 0; i < 200; i++)
        if ((blocks[i] = malloc(16 + i * i * 8)) == NULL)
            _exit(93);
    for (size_t i = 0; i < 200; i++)
        free(blocks[i]);
}

__attribute__((constructor)) static void start(void)
{
    if (pthread_atfork(churn, churn, churn) != 0)
        _exit(94);
}
