/* too_much - requests that no machine can serve cost the program nothing later: what it asks for afterwards comes from SuperSlabs,
 * as before. */
#include "account_access.h"

static void refuse(size_t size)
{
    errno = 0;
    void *block = opaque(malloc(size));
    require(block == NULL || size < SIZE_MAX / 4, "malloc(%zu) succeeded",
            size); /* the kernel may promise what it has not */
    require(block != NULL || errno == ENOMEM, "errno is %d", errno);
    free(block);
    block = take(100);
    require(opaque(realloc(block, SIZE_MAX / 2)) == NULL && errno == ENOMEM, "realloc");
    free(block);
    block = take(3 * MIB);
    require(opaque(realloc(block, SIZE_MAX / 2)) == NULL && errno == ENOMEM, "realloc");
    free(block);
}

int main(void)
{
    struct hk_stats stats;
    account_open();
    for (unsigned bits = 40; bits < 63; bits++)
        refuse((size_t)1 << bits);
    refuse(PTRDIFF_MAX);
    for (unsigned i = 0; i < 100000; i++)
        memset(take(500), 1, 500);
    for (unsigned i = 0; i < 100; i++)
        take(100000);
    require(process_stats(&stats, sizeof(stats)) == 0, "hk_stats");
    require(stats.legacy_chunks == 0 && stats.huge_blocks == 0,
            "%llu chunks of the fallback, %llu blocks that are mappings", (unsigned long long)stats.legacy_chunks,
            (unsigned long long)stats.huge_blocks);
    require(stats.superslabs > 20, "%llu SuperSlabs", (unsigned long long)stats.superslabs);
    puts("good");
    return 0;
}
