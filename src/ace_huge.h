/* ace_huge.h - ACE's blocks with a mapping of their own, outside the region. Mappings that were freed wait for the
 * next block: one that is too long by more than an eighth is split, and one that is too short grows by mremap, since
 * pages that are there already are worth more than fresh ones. */
#ifndef HK_ACE_HUGE_H
#define HK_ACE_HUGE_H

#include "base.h"

/* Serve `size` bytes, at a multiple of align, for a request of class_idx (which a MapFail names). cached: it may
 * come from the cache. NULL with ENOMEM after MapFail has been told. */
HK_HIDDEN void *ace_huge_alloc(unsigned class_idx, size_t size, size_t align, bool zero, bool cached);

/* Make a huge block of `size` bytes of a run that can't grow where it is, by moving its pages: [ptr, ptr + len) of a SuperSlab,
 * shorter than size. What they leave stays mapped and reads as zeros. NULL: nothing changed, since it does not pay, or since
 * the kernel refuses; errno kept. */
HK_HIDDEN void *ace_huge_of_run(void *ptr, size_t len, size_t size, size_t align);

/* As for large. ace_huge_trim() unmaps the coldest first. */
HK_HIDDEN size_t ace_huge_decay(uint64_t now_ms, uint64_t age_ms);
HK_HIDDEN size_t ace_huge_trim(size_t keep);

/* Bytes of cached mappings that may be resident. */
HK_HIDDEN size_t ace_huge_cached_bytes(void);

HK_HIDDEN void ace_huge_init(void);
HK_HIDDEN void ace_huge_before_fork(void);
HK_HIDDEN void ace_huge_after_fork(bool raw);

#endif
