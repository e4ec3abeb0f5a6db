/* What is freed is static memory. */
#include "bug.h"

static void bug(size_t size)
{
    static char memory[256] __attribute__((aligned(64)));
    free(announce(memory + size % 64 / 16 * 16));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
