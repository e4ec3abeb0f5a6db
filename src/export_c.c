/* export_c.c - the C families but malloc and free themselves: arguments, errno and results as C23, POSIX.1-2024 and the
 * glibc manual say; the work is heap.h's. Where these disagree, the comment at the function says which one is followed. */
#include "heap.h"
#include "misuse.h"
#include "os.h"
#include "statistics.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

/* Not, or not everywhere, in the system's headers. */
HK_EXPORT void *reallocf(void *ptr, size_t size);
HK_EXPORT void free_sized(void *ptr, size_t size);
HK_EXPORT void free_aligned_sized(void *ptr, size_t align, size_t size);

#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* mallinfo: for callers, not for who provides it */

/* Other names that glibc exports, or once did. */
HK_EXPORT void *__libc_calloc(size_t count, size_t size) HK_ALIAS_OF(calloc);
HK_EXPORT void *__libc_realloc(void *ptr, size_t size) HK_ALIAS_OF(realloc);
HK_EXPORT void *__libc_reallocarray(void *ptr, size_t count, size_t size) HK_ALIAS_OF(reallocarray);
HK_EXPORT void *__libc_memalign(size_t align, size_t size) HK_ALIAS_OF(memalign);
HK_EXPORT void *__libc_valloc(size_t size) HK_ALIAS_OF(valloc);
HK_EXPORT void *__libc_pvalloc(size_t size) HK_ALIAS_OF(pvalloc);
HK_EXPORT int __posix_memalign(void **out, size_t align, size_t size) HK_ALIAS_OF(posix_memalign);
HK_EXPORT int __libc_mallopt(int parameter, int value) HK_ALIAS_OF(mallopt);
HK_EXPORT struct mallinfo __libc_mallinfo(void) HK_ALIAS_OF(mallinfo);

static void *bad_alignment(void)
{
    errno = EINVAL;
    return NULL;
}

HK_EXPORT void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (hk_unlikely(__builtin_mul_overflow(count, size, &bytes)))
        return heap_out_of_memory(SIZE_MAX);
    return heap_calloc(bytes);
}

/* Size 0 with a block frees it and gives NULL, as glibc does; C23 leaves it undefined. */
HK_EXPORT void *realloc(void *ptr, size_t size)
{
    if (ptr == NULL)
        return heap_malloc(size);
    if (hk_unlikely(size == 0)) {
        heap_free(ptr);
        return NULL;
    }
    return heap_realloc(ptr, size, HK_ALIGNMENT);
}

HK_EXPORT void *reallocarray(void *ptr, size_t count, size_t size)
{
    size_t bytes;
    if (hk_unlikely(__builtin_mul_overflow(count, size, &bytes)))
        return heap_out_of_memory(SIZE_MAX);
    return realloc(ptr, bytes);
}

/* From FreeBSD: a failure frees the block. */
HK_EXPORT void *reallocf(void *ptr, size_t size)
{
    void *moved = realloc(ptr, size);
    if (moved == NULL && size != 0)
        heap_free(ptr);
    return moved;
}

/* A power of two, and any size: C17 as corrected by DR 460. */
HK_EXPORT void *aligned_alloc(size_t align, size_t size)
{
    if (hk_unlikely(!hk_is_power_of_two(align)))
        return bad_alignment();
    return heap_aligned_alloc(align, size);
}

/* EINVAL for what is no power of two, as its manual page says; glibc's code rounds up instead, which hides a bug. */
HK_EXPORT void *memalign(size_t align, size_t size)
{
    if (hk_unlikely(!hk_is_power_of_two(align)))
        return bad_alignment();
    return heap_aligned_alloc(align, size);
}

/* POSIX: the error is the result; neither errno nor, on failure, *out is touched. */
HK_EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
    if (hk_unlikely(!hk_is_power_of_two(align) || align % sizeof(void *) != 0))
        return EINVAL;
    int saved = errno;
    void *ptr = heap_aligned_alloc(align, size);
    if (hk_unlikely(ptr == NULL)) {
        errno = saved;
        return ENOMEM;
    }
    *out = ptr;
    return 0;
}

static size_t page_size(void)
{
    heap_init(); /* these may be the first calls of all */
    return os_page_size;
}

HK_EXPORT void *valloc(size_t size)
{
    return heap_aligned_alloc(page_size(), size);
}

/* A page at least, in whole pages. */
HK_EXPORT void *pvalloc(size_t size)
{
    size_t page = page_size();
    if (hk_unlikely(size > SIZE_MAX - (page - 1)))
        return heap_out_of_memory(SIZE_MAX);
    return heap_aligned_alloc(page, size == 0 ? page : hk_align_up(size, page));
}

HK_EXPORT size_t malloc_usable_size(void *ptr)
{
    return heap_usable_size(ptr);
}

/* C23: for what malloc, calloc and realloc gave; the next is for aligned_alloc. */
HK_EXPORT void free_sized(void *ptr, size_t size)
{
    heap_free_sized(ptr, size, HK_ALIGNMENT);
}

HK_EXPORT void free_aligned_sized(void *ptr, size_t align, size_t size)
{
    if (ptr != NULL && hk_unlikely(!hk_is_power_of_two(align)))
        misuse_abort(MISUSE_WRONG_SIZE, ptr, heap_usable_size(ptr));
    heap_free_sized(ptr, size, align);
}

/* 1 when memory went back to the system. */
HK_EXPORT int malloc_trim(size_t keep)
{
    return heap_trim(keep) != 0;
}

/* What mallopt(3) lists tunes the speed of glibc's heap: a hint, accepted in the range that the manual gives, and without
 * effect. The exception is M_PERTURB, which promises what blocks contain: only its default, off, is accepted. Unknown
 * parameters fail, as the manual says (glibc's code accepts them). */
HK_EXPORT int mallopt(int parameter, int value)
{
    static const struct {
        int parameter, least, greatest;
    } known[] = {
        {M_MXFAST, 0, 80 * sizeof(size_t) / 4},
        {M_TRIM_THRESHOLD, -1, INT_MAX},
        {M_TOP_PAD, 0, INT_MAX},
        {M_MMAP_THRESHOLD, 0, 4 * 1024 * 1024 * sizeof(long)},
        {M_MMAP_MAX, 0, INT_MAX},
        {M_CHECK_ACTION, 0, 7},
        {M_PERTURB, 0, 0},
        {M_ARENA_TEST, 1, INT_MAX},
        {M_ARENA_MAX, 0, INT_MAX},
    };
    for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].parameter == parameter)
            return value >= known[i].least && value <= known[i].greatest;
    return 0;
}

/* The manual's words mapped to hakmem's: arena = uordblks + fordblks are the SuperSlabs, legacy's chunks and what ACE keeps;
 * blocks that are mappings of their own are told apart (hblks, hblkhd); a pool's waiting blocks are the "fastbin" ones. */
HK_EXPORT struct mallinfo2 mallinfo2(void)
{
    struct hk_stats s;
    statistics_of_process(&s);
    return (struct mallinfo2){
        .arena = s.live_bytes - s.huge_bytes + s.free_bytes,
        .ordblks = s.free_blocks > s.pool_blocks ? s.free_blocks - s.pool_blocks : 0,
        .smblks = s.pool_blocks,
        .hblks = s.huge_blocks,
        .hblkhd = s.huge_bytes,
        .fsmblks = s.pool_bytes,
        .uordblks = s.live_bytes - s.huge_bytes,
        .fordblks = s.free_bytes,
        .keepcost = s.trimmable_bytes,
    };
}

static int saturated(size_t n)
{
    return n > INT_MAX ? INT_MAX : (int)n;
}

HK_EXPORT struct mallinfo mallinfo(void)
{
    struct mallinfo2 wide = mallinfo2();
    return (struct mallinfo){
        .arena = saturated(wide.arena),
        .ordblks = saturated(wide.ordblks),
        .smblks = saturated(wide.smblks),
        .hblks = saturated(wide.hblks),
        .hblkhd = saturated(wide.hblkhd),
        .fsmblks = saturated(wide.fsmblks),
        .uordblks = saturated(wide.uordblks),
        .fordblks = saturated(wide.fordblks),
        .keepcost = saturated(wide.keepcost),
    };
}

static bool to_stream(void *stream, const char *text, size_t len)
{
    return fwrite(text, 1, len, stream) == len;
}

/* -1 with EINVAL for options, as malloc_info(3) says (glibc's code returns EINVAL itself). */
HK_EXPORT int malloc_info(int options, FILE *stream)
{
    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    flockfile(stream);
    bool written = statistics_write_xml(to_stream, stream);
    funlockfile(stream);
    return written ? 0 : -1;
}

static bool to_standard_error(void *unused, const char *text, size_t len)
{
    (void)unused;
    (void)len;
    os_message("%s", text);
    return true;
}

HK_EXPORT void malloc_stats(void)
{
    statistics_write_table(to_standard_error, NULL);
}
