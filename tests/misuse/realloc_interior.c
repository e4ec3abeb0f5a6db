/* The inside of a block is resized. */
#include "bug.h"

static void bug(size_t size)
{
    opaque(realloc(announce((char *)block_of(size) + 16), size * 2));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
