/* stale_words realloc|struct|link - words that the program never wrote are copied, and come to lie again where an earlier life of that
 * memory left them: whatever they say, no block is taken for a freed one.
 *
 * realloc: of a large block. struct: of values whose first word is not used, one by one. link: a free block's word, read after
 * its free, which leads into a long list from every block; it must not take minutes. */
#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>

#include "check.h"

#define MOST 200000u

struct value {
    uint64_t unused, used;
};

static void *blocks[MOST];

static void take_all(unsigned count, size_t size)
{
    for (unsigned i = 0; i < count; i++)
        *(char *)(blocks[i] = take(size)) = 1;
}

static void free_all(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        free(blocks[i]);
}

static unsigned left_count;
static size_t left_size;

/* Its cache goes back to the slabs at its end, and the slabs, empty then, to whoever wants their memory. */
static void *allocate_and_free(void *unused)
{
    take_all(left_count, left_size);
    free_all(left_count);
    return unused;
}

static void leave_marks(unsigned count, size_t size)
{
    pthread_t thread;
    left_count = count;
    left_size = size;
    require(pthread_create(&thread, NULL, allocate_and_free, NULL) == 0, "pthread_create");
    require(pthread_join(thread, NULL) == 0, "pthread_join");
}

/* The block is elsewhere now, as it was; where it was, no page has anything of it. */
static void *move_away(void *block)
{
    void *moved = opaque(realloc(block, 3 * MIB));
    require(moved != NULL && moved != block, "the block did not move");
    malloc_trim(0);
    return moved;
}

static unsigned copy_by_realloc(void)
{
    const unsigned count = 512;
    const size_t size = 8192;
    leave_marks(count, size);
    void *large = take(40000), *moved = move_away(large);
    take_all(count, size);
    for (unsigned i = 0; i < count; i++) {
        if (blocks[i] != large)
            continue;
        free(blocks[i]);
        blocks[i] = opaque(realloc(moved, size));
        require(blocks[i] == large, "the copy is not where the large block was");
        free_all(count);
        return 1;
    }
    return 0;
}

static unsigned copy_by_struct(void)
{
    const unsigned in_array = 512;
    unsigned copied = 0;
    leave_marks(MOST, sizeof(struct value));
    struct value *array = take(in_array * sizeof(*array));
    uintptr_t place = (uintptr_t)array;
    for (unsigned i = 0; i < in_array; i++)
        array[i].used = i;
    array = move_away(array);
    take_all(MOST, sizeof(struct value));
    for (unsigned i = 0; i < MOST; i++) {
        uintptr_t offset = (uintptr_t)blocks[i] - place;
        if (offset >= in_array * sizeof(*array))
            continue;
        memcpy(blocks[i], &array[offset / sizeof(*array)], sizeof(*array));
        copied++;
    }
    for (unsigned i = 0; i < MOST; i += 2)
        require((blocks[i] = opaque(realloc(blocks[i], 100))) != NULL, "realloc");
    free_all(MOST);
    return copied;
}

static unsigned copy_link(void)
{
    const size_t size = 64;
    const struct rlimit seconds = {4, 4}; /* of processor time */
    setrlimit(RLIMIT_CPU, &seconds);
    take_all(MOST, size);
    uint64_t *first = take(size), *second = take(size);
    free(first);
    free(second);
    uint64_t link = *(uint64_t *)opaque(second);
    for (unsigned i = 0; i < MOST; i++)
        *(uint64_t *)blocks[i] = link;
    free_all(MOST);
    return MOST;
}

int main(int argc, char **argv)
{
    require(argc == 2, "usage: stale_words realloc|struct|link");
    unsigned copied = strcmp(argv[1], "link") == 0     ? copy_link()
                      : strcmp(argv[1], "struct") == 0 ? copy_by_struct()
                                                       : copy_by_realloc();
    require(copied > 0, "no small block is where the array was");
    return 0;
}
