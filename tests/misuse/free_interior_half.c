/* What is freed lies in the middle of a block. */
#include "bug.h"

static void bug(size_t size)
{
    free(announce((char *)block_of(size) + size / 2));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
