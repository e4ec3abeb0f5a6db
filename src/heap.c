#include "heap.h"

#include <errno.h>
#include <string.h>

#include "../probes/probe.h"
#include "account.h"
#include "ace.h"
#include "canary.h"
#include "config.h"
#include "failures.h"
#include "guard.h"
#include "harden.h"
#include "layout.h"
#include "lock.h"
#include "oom_report.h"
#include "os.h"
#include "outer_map.h"
#include "quarantine.h"
#include "reclaim.h"
#include "region.h"
#include "sampling.h"
#include "shared_pool.h"
#include "superslab.h"
#include "thread.h"
#include "thread_cache.h"

uintptr_t hk_secret;
const uintptr_t hk_chain_end[2];

static struct hk_lock init_lock = HK_LOCK_FREE;
static bool initialised; /* any: set once, by the holder of init_lock */

void heap_init(void)
{
    if (hk_likely(atomic_load_acquire(&initialised)))
        return;
    int saved = errno;
    hk_lock(&init_lock);
    bool first = !initialised;
    if (first) {
        os_init();
        config_init();
        account_init();
        hk_secret = os_random64() >> (64 - HK_MARK_SHIFT) | (uintptr_t)HK_MARK << HK_MARK_SHIFT;
        canary_init();
        os_guard = hk_config.harden != 0 ? os_page_size : 0;
        region_init();
        shared_pool_init();
        ace_init();
        cache_init();
        thread_init();
        layout_init();
        atomic_store_release(&initialised, true);
    }
    hk_unlock(&init_lock);
    if (first)
        heap_catch_forks(); /* which may allocate */
    errno = saved;
}

void heap_enter(void)
{
    heap_init();
    if (hk_unlikely(*thread_fork_token == 0))
        heap_begin_child();
}

void *heap_out_of_memory(size_t size)
{
    account_add(&hk_account.classes[hk_class_of_size(size)].alloc_fails, 1);
    errno = ENOMEM;
    enum os_limit limit = OS_LIMIT_UNASKED;
    if (HK_PROBE_ON(alloc_fail)) {
        limit = size <= PTRDIFF_MAX ? os_limit_hit(size, ENOMEM) : OS_LIMIT_NONE;
        HK_PROBE_FIRE(alloc_fail, size, ENOMEM, limit);
    }
    failures_add_null(size, limit);
    heap_init(); /* the first call of all may be one that is refused */
    oom_report_first();
    errno = ENOMEM;
    return NULL;
}

struct heap_place heap_find(const void *ptr)
{
    struct heap_place place = {superslab_find(ptr), NULL, NULL};
    if (place.slab != NULL)
        return place;
    place.guard = guard_find(ptr);
    if (hk_unlikely(place.guard != NULL))
        return place;
    struct outer_entry entry = outer_map_find(ptr);
    if (entry.kind == OUTER_LEGACY)
        place.slab = entry.owner;
    else if (entry.kind == OUTER_HUGE)
        place.huge = entry.owner;
    return place;
}

/* Block size, 0 when ptr is not the start of a live block; a cached block's state is not looked at. */
static size_t size_at(const struct heap_place *place, const void *ptr)
{
    if (place->guard != NULL)
        return guard_size(place->guard, ptr);
    if (place->huge != NULL)
        return ace_usable_huge(place->huge, ptr);
    if (place->slab == NULL)
        return 0;
    if (place->slab->class_idx >= HK_CACHED_CLASSES)
        return ace_usable_large(place->slab, ptr);
    return slab_is_block(place->slab, ptr) ? hk_class_size[place->slab->class_idx] : 0;
}

size_t heap_block_size(const void *ptr)
{
    struct heap_place place = heap_find(ptr);
    return size_at(&place, ptr);
}

/* Whether a block lies in its slab, in a chain or in some thread's list. A mark alone does not prove it: a program may write
 * such a word, and words that it never wrote may be left from an earlier life of that memory. */
static bool is_free(const struct slab *slab, const void *ptr)
{
    if (slab_block_is_free(slab, ptr))
        return true;
    if (hk_likely(!hk_is_marked(ptr)))
        return false;
    heap_enter();
    if (!shared_pool_seems_free(slab->class_idx, ptr))
        return false;
    for (unsigned looks = 0; looks < 2; looks++) /* it may have been on its way from a list to another */
        if (thread_lists_hold(slab->class_idx, ptr) || shared_pool_chains_hold(slab->class_idx, ptr) ||
            slab_block_is_free(slab, ptr))
            return true;
    return false;
}

void heap_check_block(const struct heap_place *place, const void *ptr, enum misuse_kind twice,
                      enum misuse_kind interior)
{
    const struct slab *slab = place->slab;
    size_t size = hk_class_size[slab->class_idx];
    if (hk_unlikely(!slab_is_block(slab, ptr)))
        misuse_abort(interior, ptr, size);
    if (hk_unlikely(is_free(slab, ptr)))
        misuse_abort(twice, ptr, size);
}

/* The size of the huge block that ptr points into, 0 if none. Only a block's first unit is in the outer map: look for it below
 * ptr. For the way to an abort, where time is no matter. */
static size_t huge_around(const void *ptr)
{
    const uintptr_t most_units = UINT64_C(1) << 20;
    uintptr_t first = hk_align_down((uintptr_t)ptr, HK_UNIT_SIZE);
    for (uintptr_t unit = 0; unit < most_units && unit <= first >> HK_UNIT_SHIFT; unit++) {
        const void *start = (const void *)(first - (unit << HK_UNIT_SHIFT));
        struct outer_entry entry = outer_map_find(start);
        if (entry.kind == OUTER_NONE)
            continue;
        size_t size = entry.kind == OUTER_HUGE ? ace_usable_huge(entry.owner, start) : 0;
        return (uintptr_t)ptr - (uintptr_t)start < size ? size : 0;
    }
    return 0;
}

void heap_misuse(const struct heap_place *place, const void *ptr, enum misuse_kind twice, enum misuse_kind interior,
                 enum misuse_kind foreign)
{
    const struct slab *slab = place->slab;
    if (slab != NULL)
        misuse_abort(ptr == slab->base ? twice : interior, ptr, slab->size);
    if (place->huge != NULL)
        misuse_abort((uintptr_t)ptr % HK_UNIT_SIZE == 0 ? twice : interior, ptr, 0);
    size_t around = huge_around(ptr);
    misuse_abort(around != 0 ? interior : foreign, ptr, around);
}

void heap_free_marked(void *ptr)
{
    struct heap_place place = heap_find(ptr);
    if (place.slab == NULL ||
        place.slab->class_idx >= HK_CACHED_CLASSES) /* the slab went when its last block came back */
        misuse_abort(MISUSE_DOUBLE_FREE, ptr, 0);
    heap_check_block(&place, ptr, MISUSE_DOUBLE_FREE, MISUSE_INTERIOR_FREE);
    hk_clear_mark(ptr);
    free(ptr);
}

/* The place of a block that the program says it holds; aborts when it does not. *size is what the program may use of it. */
static struct heap_place find_live(const void *ptr, enum misuse_kind twice, enum misuse_kind interior,
                                   enum misuse_kind foreign, size_t *size)
{
    struct heap_place place = heap_find(ptr);
    if (place.guard != NULL) {
        *size = guard_live_size(place.guard, ptr, twice, interior, foreign);
        return place;
    }
    if (place.slab != NULL && place.slab->class_idx < HK_CACHED_CLASSES)
        heap_check_block(&place, ptr, twice, interior);
    *size = size_at(&place, ptr);
    if (*size == 0)
        heap_misuse(&place, ptr, twice, interior, foreign);
    if (harden_is_on())
        *size = harden_size(ptr, *size, twice);
    return place;
}

/* Whether a profiler was told of a block of ACE's. */
static bool *sampled_flag(const struct heap_place *place)
{
    return place->slab != NULL ? &place->slab->sampled : place->huge != NULL ? ace_huge_sampled(place->huge) : NULL;
}

void heap_end_sample(const struct heap_place *place, const void *ptr)
{
    bool *sampled = sampled_flag(place);
    if (hk_likely(sampled == NULL || !*sampled))
        return;
    *sampled = false;
    HK_PROBE_FIRE(sample_free, ptr);
}

static HK_COLD void begin_sample(const void *ptr, size_t size)
{
    struct heap_place place = heap_find(ptr);
    bool *sampled = sampled_flag(&place);
    if (sampled != NULL)
        *sampled = sampling_tells_large(ptr, size, size_at(&place, ptr));
}

void *heap_alloc_large(size_t size, size_t align, bool zero)
{
    void *block = size <= PTRDIFF_MAX ? ace_alloc(size > HK_CACHED_MAX ? size : HK_CACHED_MAX + 1, align, zero) : NULL;
    if (block == NULL)
        return heap_out_of_memory(size);
    if (HK_PROBE_ON(sample_alloc))
        begin_sample(block, size);
    return block;
}

void *heap_calloc(size_t size)
{
    if (size > HK_CACHED_MAX) {
        heap_enter();
        return heap_alloc_large(size, HK_ALIGNMENT, true);
    }
    void *block = malloc(size);
    return block != NULL ? memset(block, 0, size) : NULL;
}

/* The smallest cached class whose blocks all lie at multiples of align: slabs do, so those whose size is a multiple of it.
 * HK_CACHED_CLASSES when there is none. */
static unsigned aligned_class(size_t align, size_t size)
{
    if (size < align)
        size = align;
    if (size > HK_CACHED_MAX)
        return HK_CACHED_CLASSES;
    unsigned class_idx = hk_class_of_size(size);
    while (class_idx < HK_CACHED_CLASSES && (hk_class_size[class_idx] & (align - 1)) != 0)
        class_idx++;
    return class_idx;
}

/* Also at the first call of all. region_reach is not 0 where a thread has a cache. */
static bool is_hardened(void)
{
    if (hk_likely(region_load_reach() != 0))
        return false;
    heap_enter();
    return harden_is_on();
}

/* Every allocation of hardened mode but for sizes that malloc and calloc pass on to ACE. */
static void *aligned_hardened(size_t align, size_t size, bool zero)
{
    unsigned class_idx = aligned_class(align, size + CANARY_BYTES);
    if (class_idx < HK_CACHED_CLASSES)
        return cache_alloc_uncached(class_idx, size); /* free memory reads as zeros */
    void *block = ace_alloc(size, align, zero);
    return block != NULL ? block : heap_out_of_memory(size);
}

static void *aligned(size_t align, size_t size, bool zero)
{
    if (size > PTRDIFF_MAX || align > PTRDIFF_MAX)
        return heap_out_of_memory(size);
    if (is_hardened())
        return aligned_hardened(align, size, zero);
    unsigned class_idx = aligned_class(align, size);
    if (class_idx < HK_CACHED_CLASSES) {
        void *block = malloc(hk_class_size[class_idx]);
        return block != NULL && zero ? memset(block, 0, size) : block;
    }
    heap_enter();
    return heap_alloc_large(size, align, zero);
}

void *heap_aligned_alloc(size_t align, size_t size)
{
    return aligned(align, size, false);
}

void *heap_aligned_calloc(size_t align, size_t size)
{
    return aligned(align, size, true);
}

/* Where it lies or not at all: a canary is of its address. Kept while half of the block is used at least, or with in_place. */
static void *resize_hardened(const struct heap_place *place, void *ptr, size_t size, size_t align, bool in_place)
{
    size_t block_size = size_at(place, ptr), old_size = harden_size(ptr, block_size, MISUSE_FREED_REALLOC);
    size_t room = size + CANARY_BYTES;
    bool cached = place->slab != NULL && place->slab->class_idx < HK_CACHED_CLASSES;
    if (cached ? aligned_class(align, room) != place->slab->class_idx : room < block_size / 2 && !in_place)
        return NULL;
    canary_unseal(ptr, block_size);
    if (cached &&
        size < old_size) /* what is cut off is to read as zeros once the block is free, which zeroes up to its size */
        memset((uint8_t *)ptr + size, 0, old_size - size);
    bool resized = cached || (place->huge != NULL ? ace_resize_huge(place->huge, ptr, room, align, true)
                                                  : ace_resize_large(place->slab, ptr, room, align, true)) != NULL;
    canary_seal(ptr, size_at(place, ptr), resized ? size : old_size);
    return resized ? ptr : NULL;
}

/* ptr where it is, or elsewhere without copying; NULL when neither can be. */
static void *resize(const struct heap_place *place, void *ptr, size_t size, size_t align, bool in_place)
{
    if ((uintptr_t)ptr % align != 0)
        return NULL;
    if (place->guard != NULL)
        return guard_size(place->guard, ptr) == size ? ptr : NULL;
    if (harden_is_on())
        return resize_hardened(place, ptr, size, align, in_place);
    if (place->huge != NULL)
        return ace_resize_huge(place->huge, ptr, size, align, in_place);
    if (place->slab->class_idx >= HK_CACHED_CLASSES)
        return ace_resize_large(place->slab, ptr, size, align, in_place);
    /* Within its class alone, so that a block's class always tells the sizes it can have been asked for. */
    return aligned_class(align, size) == place->slab->class_idx ? ptr : NULL;
}

/* The flag of a block of ACE's; NULL for any other. */
static bool *large_flag(const struct heap_place *place)
{
    return place->slab == NULL || place->slab->class_idx >= HK_CACHED_CLASSES ? sampled_flag(place) : NULL;
}

static HK_COLD void resample(const struct heap_place *place, const void *ptr, size_t size, size_t old_size)
{
    bool *sampled = large_flag(place);
    *sampled = sampling_tells_resized(ptr, size, size_at(place, ptr), old_size, *sampled);
}

/* A block that moved without being copied is freed and allocated to a profiler. */
static HK_COLD void move_sample(const void *ptr, const void *moved, size_t size, bool told)
{
    if (told)
        HK_PROBE_FIRE(sample_free, ptr);
    begin_sample(moved, size);
}

void *heap_realloc(void *ptr, size_t size, size_t align)
{
    size_t old_size;
    struct heap_place place =
        find_live(ptr, MISUSE_FREED_REALLOC, MISUSE_INTERIOR_FREE, MISUSE_FOREIGN_REALLOC, &old_size);
    if (size > PTRDIFF_MAX)
        return heap_out_of_memory(size);
    heap_enter();
    bool *sampled = large_flag(&place);
    bool told = sampled != NULL && *sampled;
    if (hk_unlikely(told))
        *sampled = false; /* where it moves away from may be another's before this call returns */
    void *moved = resize(&place, ptr, size, align, false);
    if (moved != NULL && moved != ptr) {
        if (hk_unlikely(told || HK_PROBE_ON(sample_alloc)))
            move_sample(ptr, moved, size, told);
    } else if (hk_unlikely(told)) {
        *sampled = true;
    }
    if (moved == ptr && sampled != NULL && hk_unlikely(told || HK_PROBE_ON(sample_alloc)))
        resample(&place, ptr, size, old_size);
    if (moved != NULL)
        return moved;
    moved = align <= HK_ALIGNMENT ? malloc(size) : heap_aligned_alloc(align, size);
    if (moved == NULL)
        return NULL;
    memcpy(moved, ptr, old_size < size ? old_size : size);
    free(ptr);
    return moved;
}

size_t heap_resize_in_place(void *ptr, size_t size, size_t extra)
{
    size_t old_size;
    struct heap_place place =
        find_live(ptr, MISUSE_FREED_REALLOC, MISUSE_INTERIOR_FREE, MISUSE_FOREIGN_REALLOC, &old_size);
    size_t most = size <= PTRDIFF_MAX && extra <= PTRDIFF_MAX - size ? size + extra : PTRDIFF_MAX;
    if (old_size >= size && old_size <= most)
        return old_size;
    int saved = errno;
    heap_enter();
    if (resize(&place, ptr, most, HK_ALIGNMENT, true) == NULL && size < most)
        resize(&place, ptr, size, HK_ALIGNMENT, true);
    errno = saved;
    size_t usable = heap_usable_size(ptr);
    bool *sampled = large_flag(&place);
    if (sampled != NULL && hk_unlikely(*sampled || HK_PROBE_ON(sample_alloc)))
        resample(&place, ptr, usable, old_size);
    return usable;
}

size_t heap_usable_size(const void *ptr)
{
    size_t size;
    if (ptr == NULL)
        return 0;
    find_live(ptr, MISUSE_FREED_REALLOC, MISUSE_INTERIOR_FREE, MISUSE_FOREIGN_REALLOC, &size);
    return size;
}

size_t heap_good_size(size_t size, size_t align)
{
    if (size > PTRDIFF_MAX || align > PTRDIFF_MAX)
        return 0;
    if (is_hardened())
        return hk_align_up(size + CANARY_BYTES, os_page_size) <= PTRDIFF_MAX ? size : 0;
    unsigned class_idx = aligned_class(align < HK_ALIGNMENT ? HK_ALIGNMENT : align, size);
    if (class_idx < HK_CACHED_CLASSES)
        return hk_class_size[class_idx];
    heap_init();
    if (size <= HK_CACHED_MAX)
        size = HK_CACHED_MAX + 1;
    class_idx = hk_class_of_size(size);
    return hk_align_up(class_idx < HK_CLASS_HUGE ? hk_class_size[class_idx] : size, os_page_size);
}

/* The size must be that which was asked for. */
static bool fits_hardened(const struct heap_place *place, const void *ptr, size_t size, size_t asked, size_t align)
{
    bool cached = place->slab != NULL && place->slab->class_idx < HK_CACHED_CLASSES;
    if (align < HK_ALIGNMENT)
        align = HK_ALIGNMENT;
    return size == asked && (uintptr_t)ptr % align == 0 &&
           (!cached || aligned_class(align, size + CANARY_BYTES) == place->slab->class_idx);
}

static HK_NOINLINE void free_sized_slow(void *ptr, size_t size, size_t align)
{
    if (ptr == NULL)
        return;
    size_t block_size;
    struct heap_place place =
        find_live(ptr, MISUSE_DOUBLE_FREE, MISUSE_INTERIOR_FREE, MISUSE_FOREIGN_FREE, &block_size);
    bool cached = place.slab != NULL && place.slab->class_idx < HK_CACHED_CLASSES;
    if (harden_is_on()) {
        if (!fits_hardened(&place, ptr, size, block_size, align))
            misuse_abort(MISUSE_WRONG_SIZE, ptr, block_size);
        free(ptr);
        return;
    }
    /* A large block may have been resized where it lies, down to half. */
    bool fits = !cached && place.guard == NULL && size <= block_size && size >= block_size / 2;
    if (!fits && heap_good_size(size, align) != heap_good_size(block_size, 0))
        misuse_abort(MISUSE_WRONG_SIZE, ptr, block_size);
    free(ptr);
}

void heap_free_sized(void *ptr, size_t size, size_t align)
{
    /* Nearly always, and every C++ delete comes here: the block's class is that of the size. free() checks the rest. Where free()
     * goes the slow path, so does this. */
    uintptr_t unit = ((uintptr_t)ptr - region_base) >> HK_UNIT_SHIFT;
    if (hk_likely(align <= HK_ALIGNMENT && size <= HK_CACHED_MAX && unit < region_load_reach() &&
                  region_map[unit] == hk_bin_at_code(hk_code_of_size[(size + HK_ALIGNMENT - 1) / HK_ALIGNMENT]))) {
        free(ptr);
        return;
    }
    free_sized_slow(ptr, size, align);
}

size_t heap_trim(size_t keep)
{
    heap_init();
    int saved = errno;
    uint64_t now_ms = os_now_ms(), mapped = atomic_load_relaxed(&os_account.mapped);
    cache_drain_all(DRAIN_TRIM);
    quarantine_flush();
    size_t purged = shared_pool_decay(now_ms, 0);
    ace_decay(now_ms, 0);
    purged += superslab_purge(now_ms, 0, keep);
    errno = saved; /* pages that the program locked are refused */
    /* What was unmapped may have been purged before: the greater of the two is what surely went back. */
    uint64_t left = atomic_load_relaxed(&os_account.mapped);
    return mapped > left && mapped - left > purged ? mapped - left : purged;
}

void heap_tick(uint64_t now_ms)
{
    reclaim_decay(now_ms);
}
