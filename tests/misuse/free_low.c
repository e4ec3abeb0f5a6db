/* What is freed is an address in the first page. */
#include "bug.h"

static void bug(size_t size)
{
    block_of(size);
    free(announce((void *)0x10));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
