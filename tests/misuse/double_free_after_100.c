/* A block is freed again after a hundred others of its size were freed. */
#include "bug.h"

static void bug(size_t size)
{
    void *others[100];
    for (int i = 0; i < 100; i++)
        others[i] = block_of(size);
    void *ptr = announce(block_of(size));
    free(ptr);
    for (int i = 0; i < 100; i++)
        free(others[i]);
    free(opaque(ptr));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
