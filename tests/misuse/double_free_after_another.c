/* A block is freed again after another of its size was freed. */
#include "bug.h"

static void bug(size_t size)
{
    void *other = block_of(size), *ptr = announce(block_of(size));
    free(ptr);
    free(other);
    free(opaque(ptr));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
