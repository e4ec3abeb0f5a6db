/* refused - a program whose every allocation may be refused: it gives memory that can be written, or NULL with ENOMEM.
 *
 * Run with calls to the kernel made to fail. Ends with status 0, and a line that says how many allocations were refused, how many in the
 * better of the last two rounds, and how many bytes are mapped, metadata left out, when all is free and trimmed. */
#include <dlfcn.h>
#include <malloc.h>

#include "check.h"
#include "hakmem.h"

#define BLOCKS 300u

static void *blocks[BLOCKS];
static size_t sizes[BLOCKS];
static unsigned refused;

static void *got(void *ptr, const char *what, size_t size)
{
    ptr = opaque(ptr);
    if (ptr == NULL) {
        require(errno == ENOMEM, "%s of %zu bytes is NULL with errno %d", what, size, errno);
        refused++;
    }
    return ptr;
}

static void check_zero(const unsigned char *ptr, size_t size)
{
    for (size_t i = 0; i < size; i++)
        require(ptr[i] == 0, "calloc of %zu bytes: byte %zu is %u", size, i, ptr[i]);
}

static void end_block(unsigned i)
{
    if (blocks[i] != NULL)
        check_marked(blocks[i], "refused");
    free(blocks[i]);
    blocks[i] = NULL;
}

static void replace(unsigned i, uint64_t *random)
{
    static const size_t most[] = {100, 1000, 30 * KIB, 300 * KIB, 3 * MIB};
    size_t size = random_between(random, 16, most[random_next(random) >> 20 & 3]);
    void *ptr;
    if (i % 40 == 0)
        size = random_between(random, MIB, most[4]);
    end_block(i);
    errno = 0;
    switch (i % 4) {
    case 0:
        ptr = got(calloc(1, size), "calloc", size);
        if (ptr != NULL)
            check_zero(ptr, size);
        break;
    case 1:
        ptr = got(aligned_alloc(4096, size), "aligned_alloc", size);
        require((uintptr_t)ptr % 4096 == 0, "%p is not aligned", ptr);
        break;
    default:
        ptr = got(malloc(size), "malloc", size);
    }
    if (ptr != NULL)
        mark(ptr, size, i);
    blocks[i] = ptr;
    sizes[i] = size;
}

/* Resizes in steps; what was refused is still as it was. */
static void resize(unsigned i, size_t size)
{
    if (blocks[i] == NULL)
        return;
    errno = 0;
    void *ptr = got(realloc(blocks[i], size), "realloc", size);
    if (ptr == NULL) {
        check_marked(blocks[i], "refused realloc");
        return;
    }
    blocks[i] = ptr;
    mark(ptr, sizes[i] = size, i);
}

/* Returns how many were refused in it. */
static unsigned round_of_all(uint64_t *random)
{
    unsigned before = refused;
    for (unsigned i = 0; i < BLOCKS; i++)
        replace(i, random);
    for (unsigned i = 0; i < BLOCKS; i += 7)
        resize(i, sizes[i] * 3 + 16);
    for (unsigned i = 3; i < BLOCKS; i += 7)
        resize(i, sizes[i] / 3 + 16);
    sleep_us(20000); /* what was freed grows old, where decay_ms is short */
    return refused - before;
}

static size_t mapped_bytes(void)
{
    struct hk_stats stats = {0};
    int (*stats_of)(struct hk_stats *, size_t);
    *(void **)&stats_of = dlsym(RTLD_DEFAULT, "hk_stats");
    require(stats_of != NULL && stats_of(&stats, sizeof stats) == 0, "no hk_stats");
    return stats.mapped_bytes - stats.meta_bytes;
}

int main(void)
{
    uint64_t random = 31337;
    char answer[128];
    unsigned in_last[2];
    for (unsigned round = 0; round < 4; round++)
        in_last[round % 2] = round_of_all(&random);
    for (unsigned i = 0; i < BLOCKS; i++)
        end_block(i);
    malloc_trim(0);
    malloc_trim(0); /* the first may have met a refusal */
    int length = snprintf(answer, sizeof(answer), "%u allocations were refused, %u of them at last, %zu bytes mapped\n",
                          refused, in_last[0] < in_last[1] ? in_last[0] : in_last[1], mapped_bytes());
    return write(STDOUT_FILENO, answer, (size_t)length) == length ? 0 : 1;
}
