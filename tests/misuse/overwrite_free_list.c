/* The first word of a free block in the middle of a list is written to. Nobody uses the list at once: it is found when the list is cut or
 * drained, at the latest at exit. */
#include "bug.h"

static void bug(size_t size)
{
    static void *blocks[400];
    for (unsigned i = 0; i < 400; i++)
        blocks[i] = listed_block(size);
    for (unsigned i = 0; i < 200; i++)
        free(blocks[i]);
    *(uint64_t *)announce(blocks[199]) = 0x4141414141414141;
    for (unsigned i = 200; i < 400; i++)
        free(blocks[i]);
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
