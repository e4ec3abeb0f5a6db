/* no_room - a limit of the kernel's is used up: malloc says ENOMEM or finds room within what it has; then there is room again.
 *
 * usage: no_room mappings      max_map_count, by the program's own mappings
 *        no_room data          RLIMIT_DATA, by its own blocks
 *        no_room commit        what the system commits itself to (overcommit_memory is 2, and some 400 MB are left) */
#include <sys/resource.h>

#include "../behaviour/check.h"

#define MOST_BLOCKS 400000

static void *blocks[MOST_BLOCKS];

/* Allocates until there is no more, of all sizes, and frees all. Returns the bytes. */
static size_t use_up(size_t least, size_t most)
{
    uint64_t random = 1;
    size_t count = 0, bytes = 0;
    for (; count < MOST_BLOCKS; count++) {
        size_t size = random_between(&random, least, most);
        errno = 0;
        blocks[count] = malloc(size);
        if (blocks[count] == NULL)
            break;
        memset(blocks[count], 1, size);
        bytes += size;
    }
    require(count == MOST_BLOCKS || errno == ENOMEM, "NULL with errno %d", errno);
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
    return bytes;
}

/* Every other page is protected, so that each is a mapping. */
static char *exhaust_mappings(size_t *length)
{
    *length = (size_t)800 * MIB;
    char *pages = mmap(NULL, *length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(pages != MAP_FAILED, "no address space");
    for (size_t at = 0; at < *length && mprotect(pages + at, 4096, PROT_READ) == 0; at += 8192)
        continue;
    require(errno == ENOMEM, "the mappings are not used up");
    return pages;
}

int main(int argc, char **argv)
{
    size_t length = 0, before, after;
    if (argc == 2 && strcmp(argv[1], "mappings") == 0) {
        void *kept = malloc(100);
        char *pages = exhaust_mappings(&length);
        use_up(16, 100000);
        use_up(3 * MIB, 9 * MIB);
        require(munmap(pages, length) == 0, "munmap");
        before = use_up(16, 1000);
        after = use_up(16, 1000);
        free(kept);
        require(before > 100 * MIB && after == before, "%zu and %zu bytes once there is room", before, after);
    } else if (argc == 2 && strcmp(argv[1], "data") == 0) {
        const struct rlimit limit = {300 * MIB, 300 * MIB};
        require(setrlimit(RLIMIT_DATA, &limit) == 0, "setrlimit");
        before = use_up(16, 100000);
        use_up(100000, 9 * MIB);
        after = use_up(16, 100000);
        require(before > 150 * MIB && after > before / 10 * 9, "%zu, then %zu bytes", before, after);
    } else if (argc == 2 && strcmp(argv[1], "commit") == 0) {
        before = use_up(16, 100000);
        use_up(100000, 9 * MIB);
        after = use_up(16, 100000);
        require(before > 150 * MIB && after > before / 10 * 8, "%zu, then %zu bytes", before, after);
    } else {
        fail("usage: no_room mappings|data|commit");
    }
    puts("good");
    return 0;
}
