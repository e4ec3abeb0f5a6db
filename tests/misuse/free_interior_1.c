/* What is freed lies a byte behind a block's start. */
#include "bug.h"

static void bug(size_t size)
{
    free(announce((char *)block_of(size) + 1));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
