/* region.h - the one reservation of address space from which SuperSlabs are cut, and the slab map over it. */
#ifndef HK_REGION_H
#define HK_REGION_H

#include "base.h"

/* The slab map: entry (ptr - region_base) >> HK_UNIT_SHIFT says where ptr's bin lies (hk_bin_at), for units below region_units.
 * Those are all that ever were in a SuperSlab: what is above has no entry yet. region_base and region_map are const: after
 * region_init(). */
extern HK_HIDDEN uintptr_t region_base;
extern HK_HIDDEN uintptr_t region_units; /* lock: superslab; read without it */
extern HK_HIDDEN int32_t *region_map;    /* any: written by whoever holds the run, read without a lock */

/* What the fast path of free reads instead of region_units: 0 until region_open(). */
extern HK_HIDDEN uintptr_t region_reach;

/* Acquire, for the map's entries below it. On x86-64 each load acquires, and compilers fold no atomic one into the comparison that
 * follows, which costs free an instruction. */
static inline uintptr_t region_load_reach(void)
{
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
    return region_reach;
#else
    return atomic_load_acquire(&region_reach);
#endif
}

struct superslab;

/* Reserve the region after the configuration and the limits; without it region_units is 0 and legacy serves. */
HK_HIDDEN void region_init(void);

/* From now on thread caches take the region's blocks. */
HK_HIDDEN void region_open(void);

enum region_result { REGION_OK, REGION_FULL, REGION_REFUSED };

/* Commit one SuperSlab's memory, lowest address first: *base. REGION_REFUSED: the kernel refused, errno says why.
 * Caller holds the superslab lock, as for all below. */
HK_HIDDEN enum region_result region_take(uint8_t **base);

/* Give `count` adjacent SuperSlabs from base back to the reservation. False: the kernel refused, they stay committed. */
HK_HIDDEN bool region_give(uint8_t *base, unsigned count);

/* Unmap what of the region no SuperSlab uses, so that others may use the address space (MapFail): the part above the highest for good,
 * and the holes, whose indices are never taken again. */
HK_HIDDEN bool region_shrink(void);

/* The SuperSlab at index i of the region, NULL if none. Read without a lock. */
HK_HIDDEN struct superslab *region_superslab(uintptr_t idx);
HK_HIDDEN void region_set_superslab(uint8_t *base, struct superslab *ss);
HK_HIDDEN uintptr_t region_first(void); /* the lowest index that is used: in hardened mode every other is, from 1 on */
HK_HIDDEN uintptr_t region_top(void);   /* one more than the highest index that is used, or given up */

#endif
