/* region.h - the one reservation of address space from which SuperSlabs are cut, and the slab map over it. */
#ifndef HK_REGION_H
#define HK_REGION_H

#include "base.h"

/* The map index of ptr is (ptr - region_base) >> HK_UNIT_SHIFT, ours if below region_units. const: after region_init(), but
 * region_units, which shrinks when an unused tail is given back. */
extern HK_HIDDEN uintptr_t region_base;
extern HK_HIDDEN uintptr_t region_units;
extern HK_HIDDEN uint8_t *region_map; /* codes; any: written by whoever holds the run, read without a lock */

/* What the fast path of free reads instead: region_base - 1 (thread_cache.h says why), and 0 units until region_open(). */
extern HK_HIDDEN uintptr_t region_origin;
extern HK_HIDDEN uintptr_t region_reach;

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

/* Unmap the part of the region above the highest SuperSlab in use, so that others may use the address space (MapFail). */
HK_HIDDEN bool region_shrink(void);

/* The SuperSlab at index i of the region, NULL if none. Read without a lock. */
HK_HIDDEN struct superslab *region_superslab(uintptr_t idx);
HK_HIDDEN void region_set_superslab(uint8_t *base, struct superslab *ss);
HK_HIDDEN uintptr_t region_top(void); /* one more than the highest index ever used */

#endif
