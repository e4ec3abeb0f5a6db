/* What is freed is an address where nothing is mapped. */
#include "bug.h"

static void bug(size_t size)
{
    block_of(size);
    free(announce((void *)0xdeadbeef000));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
