/* What is freed is a mapping of the program's own. */
#include "bug.h"

static void bug(size_t size)
{
    free(announce(own_memory(size)));
}

int main(int argc, char **argv)
{
    return run_bug(argc, argv, bug);
}
