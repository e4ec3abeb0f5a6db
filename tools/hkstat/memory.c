#include "memory.h"

#include <stdlib.h>

#include "complain.h"

_Noreturn void out_of_memory(void)
{
    complain("out of memory");
    exit(EXIT_FAILURE);
}

void *grow(void *memory, size_t count, size_t size)
{
    void *grown = reallocarray(memory, count, size);
    if (grown == NULL)
        out_of_memory();
    return grown;
}

void *grow_by_one(void *array, size_t count, size_t size)
{
    return (count & (count - 1)) != 0 ? array : grow(array, count == 0 ? 1 : count * 2, size);
}
