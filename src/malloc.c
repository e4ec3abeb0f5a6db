/* malloc.c - malloc, from the fast path down to the choice of the tier that serves a size. */
#include "ace.h"
#include "heap.h"
#include "thread_cache.h"

static HK_COLD void *malloc_large(size_t size)
{
    heap_enter();
    return heap_alloc_large(size, HK_ALIGNMENT, false);
}

HK_EXPORT HK_HOT void *malloc(size_t size)
{
    if (hk_unlikely(size > HK_CACHED_MAX))
        return malloc_large(size);
    hk_bin_at at = hk_bin_at_code(hk_code_of_size[(size + HK_ALIGNMENT - 1) / HK_ALIGNMENT]);
    if (hk_unlikely(hk_bin_spend_budget(at)))
        return cache_alloc_slow(size);
    void *block = hk_bin_head(at), *next;
    if (hk_unlikely(!hk_next_in_chain(block, &next))) /* nor do those of hk_chain_end agree */
        return cache_alloc_slow(size);
    hk_bin_set_head(at, next);
    hk_clear_mark(block);
    return block;
}

HK_EXPORT extern __typeof__(malloc) __libc_malloc __attribute__((alias("malloc")));
HK_HIDDEN extern __typeof__(malloc) heap_malloc __attribute__((alias("malloc")));
