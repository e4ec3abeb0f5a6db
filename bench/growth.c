/* growth - vectors that are appended to: each grows by realloc from --from to --to bytes, by an eighth at a time, and each
 * new page is written. They grow in turns, so that one often stands in the other's way. An operation is a realloc. */
#include "common.h"

#define PAGE 4096u

static uint64_t from = 16, to = 256 << 20, vectors = 1, rounds = 2;

static char *grow(struct work *work, char *block, size_t old, size_t size)
{
    block = realloc(block, size);
    if (block == NULL)
        die("realloc failed");
    if (old != 0 && (block[0] != 1 || block[(old - 1) / PAGE * PAGE] != 1))
        die("realloc lost what was written");
    for (size_t at = (old + PAGE - 1) / PAGE * PAGE; at < size; at += PAGE)
        *(volatile char *)(block + at) = 1;
    work->allocs++;
    work->ops++;
    work->bytes += size;
    return block;
}

int main(int argc, char **argv)
{
    static const struct option_row options[] = {
        {"from", &from, 1, UINT32_MAX, "bytes at first"},
        {"to", &to, 1, UINT64_MAX / 2, "bytes at the end"},
        {"vectors", &vectors, 1, 1024, "vectors that grow in turns"},
        {"rounds", &rounds, 1, UINT32_MAX, "times that it is done"},
    };
    read_options(argc, argv, options, sizeof(options) / sizeof(*options));
    char **blocks = own_pages(vectors * sizeof(*blocks));
    struct work work = {.began = now()};
    for (uint64_t round = 0; round < rounds; round++) {
        for (size_t old = 0, size = from; old != to;) {
            for (uint64_t v = 0; v < vectors; v++)
                blocks[v] = grow(&work, blocks[v], old, size);
            old = size;
            size += size / 8 + 1;
            size = size > to ? to : size;
        }
        for (uint64_t v = 0; v < vectors; v++) {
            free(blocks[v]);
            blocks[v] = NULL;
        }
    }
    work.ended = now();
    answer(&work);
    return 0;
}
