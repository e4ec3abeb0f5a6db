/* The first byte of the page behind a block is read. */
#include "bug.h"

static void bug(size_t size)
{
    uintptr_t end = (uintptr_t)announce(guarded_block(size)) + size;
    (void)*(const volatile char *)((end + PAGE - 1) & ~(PAGE - 1));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
