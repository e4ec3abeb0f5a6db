/* memory.h - memory of the tools' own. */
#ifndef HKSTAT_MEMORY_H
#define HKSTAT_MEMORY_H

#include <stddef.h>

/* realloc() to count * size bytes that ends the program, with a line that says so, when there is no memory; and that end. */
void *grow(void *memory, size_t count, size_t size);
_Noreturn void out_of_memory(void);

/* Room for one more in an array of `count`: it doubles when that is a power of two. */
void *grow_by_one(void *array, size_t count, size_t size);

#endif
