/* free.c - free, from the fast path down to the misuse that ends the program. */
#include "ace.h"
#include "heap.h"
#include "misuse.h"
#include "region.h"
#include "thread_cache.h"

static HK_NOINLINE void free_slow(void *ptr)
{
    if (ptr == NULL)
        return;
    struct heap_place place = heap_find(ptr);
    if (place.guard != NULL) {
        cache_free_guarded(place.guard, ptr, __builtin_return_address(0));
        return;
    }
    if (place.slab != NULL && place.slab->class_idx < HK_CACHED_CLASSES) {
        heap_check_block(&place, ptr, MISUSE_DOUBLE_FREE, MISUSE_INTERIOR_FREE);
        if (hk_unlikely(place.slab->sampled))
            cache_free_sampled(place.slab->class_idx, ptr);
        else
            cache_free_slow(place.slab->class_idx, ptr);
        return;
    }
    heap_enter();
    heap_end_sample(&place, ptr);
    bool freed = place.slab != NULL ? ace_free_large(place.slab, ptr)
                                    : place.huge != NULL && ace_free_huge(place.huge, ptr);
    if (!freed)
        heap_misuse(&place, ptr, MISUSE_DOUBLE_FREE, MISUSE_INTERIOR_FREE, MISUSE_FOREIGN_FREE);
}

/* No block came into the list that free() took room in. That of no class has 1 for ever, whatever a handler's fork made of it. */
static inline void give_room_back(hk_bin_at at)
{
    struct hk_bin *bin = hk_bin_of(at);
    bin->room = bin == hk_tls.bins ? 1 : (uint16_t)(bin->room + 1);
}

static HK_NOINLINE void free_stopped(void *ptr, hk_bin_at at)
{
    give_room_back(at);
    free_slow(ptr);
}

static HK_COLD void free_marked(void *ptr, hk_bin_at at)
{
    give_room_back(at);
    heap_free_marked(ptr);
}

HK_EXPORT HK_HOT void free(void *ptr)
{
    uintptr_t unit = ((uintptr_t)ptr - region_base) >> HK_UNIT_SHIFT;
    if (hk_unlikely(unit >= region_load_reach())) {
        free_slow(ptr);
        return;
    }
    hk_bin_at at = region_map[unit];
    if (hk_unlikely(hk_bin_spend_room(at, (uint16_t)(uintptr_t)ptr))) {
        free_stopped(ptr, at);
        return;
    }
    if (hk_unlikely(hk_is_marked(ptr))) {
        free_marked(ptr, at);
        return;
    }
    hk_put_before(ptr, hk_bin_head(at));
    hk_bin_set_head(at, ptr);
}

HK_EXPORT extern __typeof__(free) __libc_free __attribute__((alias("free")));
HK_EXPORT extern __typeof__(free) cfree __attribute__((alias("free")));
HK_EXPORT extern __typeof__(free) __libc_cfree __attribute__((alias("free")));
HK_HIDDEN extern __typeof__(free) heap_free __attribute__((alias("free")));
