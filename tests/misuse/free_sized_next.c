/* A block is freed by free_sized with the size of a class not far above. */
#include "bug.h"

static void bug(size_t size)
{
    free_by_size(announce(block_of(size)), size + size / 2 + 16);
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
