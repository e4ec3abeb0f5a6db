/* One bit of that word is turned. */
#include "bug.h"

static void bug(size_t size)
{
    char *ptr = listed_block(size);
    free(ptr);
    ((char *)announce(ptr))[1] ^= 0x10;
    opaque(malloc(listed_size(size)));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
