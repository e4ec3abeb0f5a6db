/* What is freed is an address of the kernel's half. */
#include "bug.h"

static void bug(size_t size)
{
    block_of(size);
    free(announce((void *)-(intptr_t)16));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
