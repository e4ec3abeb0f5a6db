/* The first free came from a thread that has ended: the block lies where that left it. */
#include "bug.h"

static void bug(size_t size)
{
    void *ptr = announce(block_of(size));
    pthread_t thread;
    require(pthread_create(&thread, NULL, free_in_thread, ptr) == 0 && pthread_join(thread, NULL) == 0, "no thread");
    free(opaque(ptr));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
