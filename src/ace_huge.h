/* ace_huge.h - blocks with a mapping of their own, outside the region, and the cache of mappings that were freed.
 *
 *   live:    outer_map_find(base) = {OUTER_HUGE, h}, h->in_use       size <= mapped, a multiple of the unit
 *   cached:  the same, but !h->in_use: so a second free is known for one until the mapping is gone               */
#ifndef HK_ACE_HUGE_H
#define HK_ACE_HUGE_H

#include "base.h"

/* Serve `size` bytes, at a multiple of align, for a request of class_idx (which a MapFail names). cached: it may come from
 * the cache. NULL with ENOMEM after MapFail has been told. */
HK_HIDDEN void *ace_huge_alloc(unsigned class_idx, size_t size, size_t align, bool zero, bool cached);

/* As for large. ace_huge_trim() unmaps the coldest first. */
HK_HIDDEN size_t ace_huge_decay(uint64_t now_ms, uint64_t age_ms);
HK_HIDDEN size_t ace_huge_trim(size_t keep);

/* Bytes of cached mappings that may be resident. */
HK_HIDDEN size_t ace_huge_cached_bytes(void);

HK_HIDDEN void ace_huge_init(void);
HK_HIDDEN void ace_huge_before_fork(void);
HK_HIDDEN void ace_huge_after_fork(bool raw);

#endif
