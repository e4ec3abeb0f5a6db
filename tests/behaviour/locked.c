/* locked - what the program locked the kernel does not take back: calls that succeed keep errno all the same.
 *
 *   locked     says good */
#include <malloc.h>
#include <sys/mman.h>

#include "account_access.h"

#define BYTES (3 * MIB) /* locked at once, of each size */
#define MOST 4096u

static void kept(const char *call, size_t size)
{
    require(errno == EXFULL, "%s of %zu bytes: errno is %d", call, size, errno);
}

static void *take_locked(size_t size)
{
    errno = EXFULL;
    char *block = opaque(malloc(size));
    require(block != NULL, "malloc");
    kept("malloc", size);
    memset(block, 1, size);
    require(mlock(block, size) == 0, "mlock");
    return block;
}

static void give(void *block, size_t size)
{
    errno = EXFULL;
    free(block);
    kept("free", size);
}

static void look_at(size_t size)
{
    static void *blocks[MOST];
    unsigned count = (unsigned)(size < BYTES ? BYTES / size : 1);
    if (count > MOST)
        count = MOST;
    for (unsigned i = 0; i < count; i++)
        blocks[i] = take_locked(size);
    for (unsigned i = 0; i < count; i++)
        if (i % 4 != 0)
            give(blocks[i], size);
    errno = EXFULL;
    trim();
    kept("hk_trim", size);
    malloc_trim(0);
    kept("malloc_trim", size);
    for (unsigned i = 0; i < count; i += 4) {
        blocks[i] = realloc(blocks[i], size * 3 / 2);
        require(blocks[i] != NULL, "realloc");
        kept("realloc", size);
        give(blocks[i], size);
    }
    errno = EXFULL;
    trim();
    kept("hk_trim", size);
    munlockall();
}

int main(void)
{
    account_open();
    for (size_t size = 16; size < 5 * MIB; size = size * 5 / 3)
        look_at(size);
    puts("good");
    return 0;
}
