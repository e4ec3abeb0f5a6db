/* An address where nothing is mapped is resized. */
#include "bug.h"

static void bug(size_t size)
{
    opaque(realloc(announce((void *)0xdeadbeef000), size));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
