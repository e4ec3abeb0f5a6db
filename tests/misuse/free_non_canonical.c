/* What is freed is an address that no processor takes. */
#include "bug.h"

static void bug(size_t size)
{
    block_of(size);
    free(announce((void *)0x7777777777777770));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
