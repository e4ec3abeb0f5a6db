/* Both words of the free block that is handed out next are zeroed. */
#include "bug.h"

static void bug(size_t size)
{
    char *ptr = listed_block(size);
    free(ptr);
    memset(announce(ptr), 0, 16);
    opaque(malloc(listed_size(size)));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
