/* What is freed lies on the stack. */
#include "bug.h"

static void bug(size_t size)
{
    char on_stack[512] __attribute__((aligned(64)));
    memset(on_stack, (int)size, sizeof(on_stack));
    free(announce(on_stack + size % 64 / 16 * 16));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
