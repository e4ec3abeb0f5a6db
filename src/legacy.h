/* legacy.h - what serves a cached class when no SuperSlab can be had: chunks of their own, as small as a slab may be. */
#ifndef HK_LEGACY_H
#define HK_LEGACY_H

#include "base.h"
#include "slab.h"

/* any: bytes of all chunks. */
extern HK_HIDDEN uint64_t legacy_bytes;

/* A new slab outside the region for class_idx, entered in the outer map; NULL with ENOMEM. */
HK_HIDDEN struct slab *legacy_open(unsigned class_idx);

/* Unmap an empty slab of legacy_open(). False when the kernel refuses (max_map_count): its pages are given back and it stays
 * a slab of its class. */
HK_HIDDEN bool legacy_close(struct slab *slab);

/* Whether a slab was made by legacy_open(). */
HK_HIDDEN bool legacy_owns(const struct slab *slab);

/* The slab outside the region that holds ptr, or NULL. Any ptr. */
HK_HIDDEN struct slab *legacy_find(const void *ptr);

#endif
