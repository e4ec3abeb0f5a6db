/* The block just freed is freed again. */
#include "bug.h"

static void bug(size_t size)
{
    void *ptr = announce(block_of(size));
    free(ptr);
    free(opaque(ptr));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
