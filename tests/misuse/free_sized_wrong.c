/* A block is freed by free_sized with a much larger size. */
#include "bug.h"

static void bug(size_t size)
{
    free_by_size(announce(block_of(size)), size * 4 + 100);
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
