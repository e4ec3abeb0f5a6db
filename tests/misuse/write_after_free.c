/* A byte of a freed block is written, and its memory used again. */
#include "bug.h"

static void bug(size_t size)
{
    char *ptr = block_of(size);
    announce(ptr);
    free(ptr);
    ((char *)opaque(ptr))[size - 1] = 1;
    for (unsigned i = 0; i < 100000; i++)
        free(opaque(malloc(size)));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
