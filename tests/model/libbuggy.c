/* libbuggy - an allocator with a bug, for the test of the test: realloc to more than 5000 bytes forgets a byte of what was there. */
#include <dlfcn.h>
#include <stddef.h>

void *realloc(void *ptr, size_t size);

void *realloc(void *ptr, size_t size)
{
    static void *(*next)(void *, size_t);
    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "realloc");
    char *block = next(ptr, size);
    if (ptr != NULL && block != NULL && size > 5000)
        block[3] ^= 1;
    return block;
}
