/* What is freed lies at a page within a block, where a large one's inside looks most like a block. */
#include "bug.h"

static void bug(size_t size)
{
    size_t inside = size < 8 * KIB ? 16 : size / 2 / (4 * KIB) * (4 * KIB);
    free(announce((char *)block_of(size) + inside));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
