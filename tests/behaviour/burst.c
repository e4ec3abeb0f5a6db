/* burst - a burst of N allocations takes O(log N) ways through the slow path, and so does their freeing.
 *
 *   burst N SIZE
 *
 * Misses and drains are each at most 16 * log2(N). */
#include "account_access.h"

static struct account before, after;

int main(int argc, char **argv)
{
    require(argc == 3, "usage: burst N SIZE");
    size_t n = strtoull(argv[1], NULL, 10), size = strtoull(argv[2], NULL, 10), log = 0;
    for (size_t rest = n; rest > 1; rest >>= 1)
        log++;
    size_t most = 16 * log;
    void **blocks = own_memory(n * sizeof(*blocks));

    account_open();
    account_read(&before);
    unsigned c = account_class_of(&before, size);
    for (size_t i = 0; i < n; i++)
        *(size_t *)(blocks[i] = take(size)) = i;
    account_read(&after);
    uint64_t misses = after.of[c].misses - before.of[c].misses, allocs = after.of[c].allocs - before.of[c].allocs;
    before = after;
    for (size_t i = 0; i < n; i++) {
        require(*(size_t *)blocks[i] == i, "block %zu was overwritten", i);
        free(blocks[i]);
    }
    account_read(&after);
    uint64_t drains = after.of[c].drains - before.of[c].drains, frees = after.of[c].frees - before.of[c].frees;

    printf("%zu blocks of %u bytes: %llu misses, %llu drains, at most %zu of each\n", n, after.of[c].block_size,
           (unsigned long long)misses, (unsigned long long)drains, most);
    require(allocs >= n && frees >= n, "the account tells of %llu allocations and %llu frees",
            (unsigned long long)allocs, (unsigned long long)frees);
    require(misses > 0 && misses <= most, "%llu misses", (unsigned long long)misses);
    require(drains > 0 && drains <= most, "%llu drains", (unsigned long long)drains);
    return 0;
}
