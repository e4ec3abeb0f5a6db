/* The byte behind a block is written. */
#include "bug.h"

static void bug(size_t size)
{
    char *ptr = announce(block_of(size));
    ptr[size] = 1;
    free(ptr);
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
