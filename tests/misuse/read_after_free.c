/* A freed block is read. */
#include "bug.h"

static void bug(size_t size)
{
    char *ptr = guarded_block(size);
    announce(ptr);
    free(ptr);
    (void)*(const volatile char *)opaque(ptr);
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
