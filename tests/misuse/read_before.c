/* The last byte of the page before a block is read. */
#include "bug.h"

static void bug(size_t size)
{
    uintptr_t ptr = (uintptr_t)announce(guarded_block(size));
    (void)*(const volatile char *)((ptr & ~(PAGE - 1)) - 1);
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
