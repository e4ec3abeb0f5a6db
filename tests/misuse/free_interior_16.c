/* What is freed lies 16 bytes behind a block's start. */
#include "bug.h"

static void bug(size_t size)
{
    free(announce((char *)block_of(size) + 16));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
