/* A block is freed by free_sized twice. */
#include "bug.h"

static void bug(size_t size)
{
    void *ptr = announce(block_of(size));
    free_by_size(ptr, size);
    free_by_size(opaque(ptr), size);
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
