/* The second free comes from another thread. */
#include "bug.h"

static void bug(size_t size)
{
    void *ptr = announce(block_of(size));
    pthread_t thread;
    free(ptr);
    require(pthread_create(&thread, NULL, free_in_thread, opaque(ptr)) == 0, "pthread_create");
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
