/* block.h - what the model knows of a block: every byte of it is checked before it is given back; alignment, usable size, and that no
 * blocks overlap, when it is new. */
#ifndef MODEL_BLOCK_H
#define MODEL_BLOCK_H

#include <malloc.h>

#include "../behaviour/check.h"
#include "optional.h"

#define SLOTS 64u /* blocks of a program */

/* The function that frees the block as who made it prescribes; other functions free it without its size. */
enum freed_by {
    BY_FREE,
    BY_FREE_SIZED,
    BY_FREE_ALIGNED_SIZED,
    BY_SDALLOCX,
    BY_DELETE,
    BY_DELETE_SIZED,
    BY_DELETE_ALIGNED,
    BY_DELETE_ARRAY,
    BY_DELETE_ARRAY_SIZED,
    BY_DELETE_ARRAY_ALIGNED
};

struct block {
    unsigned char *ptr;
    size_t size;
    size_t align;
    uint64_t mark; /* what its bytes follow from */
    enum freed_by by;
};

static unsigned char byte_at(const struct block *block, size_t at)
{
    return (unsigned char)((block->mark + at * 0x9e3779b97f4a7c15u) >> 56);
}

static void fill(struct block *block, size_t from)
{
    for (size_t at = from; at < block->size; at++)
        block->ptr[at] = byte_at(block, at);
}

static void check(const struct block *block, size_t size)
{
    for (size_t at = 0; at < size; at++)
        require(block->ptr[at] == byte_at(block, at), "byte %zu of %zu at %p is %u, not %u", at, block->size,
                (void *)block->ptr, block->ptr[at], byte_at(block, at));
}

static void check_new(const struct block *block, const struct block *others, const struct block *itself)
{
    require(block->ptr != NULL, "out of memory: %zu bytes", block->size);
    require((uintptr_t)block->ptr % block->align == 0, "%p is no multiple of %zu", (void *)block->ptr, block->align);
    require(malloc_usable_size(block->ptr) >= block->size, "%zu bytes usable of %zu", malloc_usable_size(block->ptr),
            block->size);
    for (unsigned i = 0; i < SLOTS; i++)
        require(&others[i] == itself || others[i].ptr == NULL || others[i].ptr + others[i].size <= block->ptr ||
                    block->ptr + block->size <= others[i].ptr,
                "%p of %zu bytes overlaps %p of %zu", (void *)block->ptr, block->size, (void *)others[i].ptr,
                others[i].size);
}

static void check_zero(const unsigned char *bytes, size_t from, size_t to)
{
    for (size_t at = from; at < to; at++)
        require(bytes[at] == 0, "byte %zu of %zu that are to be zero is %u", at, to, bytes[at]);
}

#define FLAG_ZERO 0x40 /* MALLOCX_ZERO */

/* MALLOCX_ALIGN(align) */
static int flags_of(size_t align)
{
    return __builtin_ctzl(align);
}

/* by_size: as who made it prescribes. */
static void give(struct block *block, bool by_size)
{
    if (block->ptr == NULL)
        return;
    check(block, block->size);
    switch (by_size ? block->by : BY_FREE) {
    case BY_FREE_SIZED:
        maybe_free_sized(block->ptr, block->size);
        break;
    case BY_FREE_ALIGNED_SIZED:
        maybe_free_aligned_sized(block->ptr, block->align, block->size);
        break;
    case BY_SDALLOCX:
        maybe_sdallocx(block->ptr, block->size, flags_of(block->align));
        break;
    case BY_DELETE:
        maybe_delete(block->ptr);
        break;
    case BY_DELETE_SIZED:
        maybe_delete_sized(block->ptr, block->size);
        break;
    case BY_DELETE_ALIGNED:
        maybe_delete_aligned(block->ptr, block->size, block->align);
        break;
    case BY_DELETE_ARRAY:
        maybe_delete_array(block->ptr);
        break;
    case BY_DELETE_ARRAY_SIZED:
        maybe_delete_array_sized(block->ptr, block->size);
        break;
    case BY_DELETE_ARRAY_ALIGNED:
        maybe_delete_array_aligned(block->ptr, block->align);
        break;
    default:
        if (maybe_dallocx != NULL && block->mark % 4 == 1)
            maybe_dallocx(block->ptr, 0);
        else if (maybe_cfree != NULL && block->mark % 4 == 2)
            maybe_cfree(block->ptr);
        else
            free(block->ptr);
        break;
    }
    block->ptr = NULL;
}

#endif
