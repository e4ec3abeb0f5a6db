/* A freed block is resized. */
#include "bug.h"

static void bug(size_t size)
{
    void *ptr = announce(block_of(size));
    free(ptr);
    opaque(realloc(opaque(ptr), size * 2));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
