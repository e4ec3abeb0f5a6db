/* export_mallocx.c - the extended family of jemalloc(3), for programs that are built for it: were it left to jemalloc, its
 * blocks would meet our free. Thread-cache and arena flags are accepted and have no meaning here. */
#include "heap.h"

#include <string.h>

#define FLAG_LG_ALIGN_MASK 0x3f
#define FLAG_ZERO 0x40

HK_EXPORT void *mallocx(size_t size, int flags);
HK_EXPORT void *rallocx(void *ptr, size_t size, int flags);
HK_EXPORT size_t xallocx(void *ptr, size_t size, size_t extra, int flags);
HK_EXPORT size_t sallocx(const void *ptr, int flags);
HK_EXPORT void dallocx(void *ptr, int flags);
HK_EXPORT void sdallocx(void *ptr, size_t size, int flags);
HK_EXPORT size_t nallocx(size_t size, int flags);

/* Without an alignment in the flags it is 1, and a block has HK_ALIGNMENT. */
static size_t align_of(int flags)
{
    size_t align = (size_t)1 << (flags & FLAG_LG_ALIGN_MASK);
    return align < HK_ALIGNMENT ? HK_ALIGNMENT : align;
}

static bool is_aligned(const void *ptr, size_t align)
{
    return ((uintptr_t)ptr & (align - 1)) == 0;
}

/* MALLOCX_ZERO of a resize: what the block had not before reads 0. */
static void zero_growth(void *ptr, size_t old_usable, size_t new_usable)
{
    if (new_usable > old_usable)
        memset((char *)ptr + old_usable, 0, new_usable - old_usable);
}

HK_EXPORT void *mallocx(size_t size, int flags)
{
    size_t align = align_of(flags);
    if (align == HK_ALIGNMENT)
        return flags & FLAG_ZERO ? heap_calloc(size) : heap_malloc(size);
    return flags & FLAG_ZERO ? heap_aligned_calloc(align, size) : heap_aligned_alloc(align, size);
}

/* heap_realloc leaves a block where it is when it can, and that need not be a multiple of the alignment asked for now. */
static void *resize(void *ptr, size_t size, size_t align, size_t old_usable)
{
    if (is_aligned(ptr, align))
        return heap_realloc(ptr, size, align);
    void *moved = heap_aligned_alloc(align, size);
    if (moved == NULL)
        return NULL;
    memcpy(moved, ptr, old_usable < size ? old_usable : size);
    heap_free(ptr);
    return moved;
}

HK_EXPORT void *rallocx(void *ptr, size_t size, int flags)
{
    size_t old_usable = heap_usable_size(ptr);
    void *moved = resize(ptr, size == 0 ? 1 : size, align_of(flags), old_usable);
    if (moved != NULL && (flags & FLAG_ZERO))
        zero_growth(moved, old_usable, heap_usable_size(moved));
    return moved;
}

HK_EXPORT size_t xallocx(void *ptr, size_t size, size_t extra, int flags)
{
    size_t old_usable = heap_usable_size(ptr);
    if (!is_aligned(ptr, align_of(flags)))
        return old_usable;
    if (extra > SIZE_MAX - size)
        extra = SIZE_MAX - size;
    size_t usable = heap_resize_in_place(ptr, size == 0 ? 1 : size, extra);
    if (flags & FLAG_ZERO)
        zero_growth(ptr, old_usable, usable);
    return usable;
}

HK_EXPORT size_t sallocx(const void *ptr, int flags)
{
    (void)flags;
    return heap_usable_size(ptr);
}

HK_EXPORT void dallocx(void *ptr, int flags)
{
    (void)flags;
    heap_free(ptr);
}

HK_EXPORT void sdallocx(void *ptr, size_t size, int flags)
{
    heap_free_sized(ptr, size, align_of(flags));
}

HK_EXPORT size_t nallocx(size_t size, int flags)
{
    size_t good = heap_good_size(size, align_of(flags));
    return good <= PTRDIFF_MAX ? good : 0;
}
