/* ace_huge_cache.h - the mappings of huge blocks, and those which wait for the next one. Part of ACE's huge engine
 * alone.
 *
 *   live:     h->in_use, in no list
 *   waiting:  !h->in_use && !h->stuck     freed; its pages may be resident
 *   stuck:    !h->in_use && h->stuck      the kernel would not unmap it (max_map_count); its pages have gone if it is clean
 *   each:     outer_map_find(h->base) = {OUTER_HUGE, h}: a second free is known for one until the mapping is gone
 *
 * A mapping that is too long is split where no page is touched, and parts of one kernel mapping that meet again are
 * merged: both change addresses in our books alone. hk_account.capacity.huge_cached* count what waits. */
#ifndef HK_ACE_HUGE_CACHE_H
#define HK_ACE_HUGE_CACHE_H

#include "base.h"
#include "lock.h"

/* While in_use, all but in_use is the block's owner's; else the huge lock protects it. */
struct huge {
    uint8_t *base;
    size_t size;       /* of the block, in bytes */
    size_t mapped;     /* a multiple of the unit, size at least */
    uint64_t origin;   /* equal: parts of one kernel mapping */
    uint64_t stamp_ms; /* when it was freed */
    struct huge *next, *prev;
    bool in_use;  /* lock: huge */
    bool stuck;   /* lock: huge; in stuck_list */
    bool clean;   /* it reads as zeros */
    bool sampled; /* owner of the block: a profiler was told of it */
};

/* Also over the account of HK_CLASS_HUGE and hk_account.capacity.huge_*. Its place in the order of locks is that of a class. */
extern HK_HIDDEN struct hk_lock huge_lock;

/* ---- without the lock ---- */

/* A fresh mapping, in use, entered in the outer map. NULL with the kernel's errno. */
HK_HIDDEN struct huge *huge_map(size_t map_len, size_t align);

/* The same for pages that are there already: those of [ptr, ptr + len), a part of a SuperSlab, become the first of the
 * mapping, longer than len. NULL: they are where they were. */
HK_HIDDEN struct huge *huge_map_moved(void *ptr, size_t len, size_t map_len, size_t align);

/* Make it map_len long, more than it is, where it lies or elsewhere, keeping its content; h is the caller's. False: nothing
 * changed. */
HK_HIDDEN bool huge_remap(struct huge *h, size_t map_len, size_t align);

/* Let what lies behind map_len wait as a mapping of its own. h is the caller's. */
HK_HIDDEN void huge_split(struct huge *h, size_t map_len);

/* Unmap mappings that were taken out, linked through next; what the kernel refuses to unmap is stuck. Returns the
 * bytes that may have been resident. errno kept. */
HK_HIDDEN size_t huge_unmap(struct huge *list);

/* ---- with the lock held ---- */

HK_HIDDEN uint32_t huge_waiting(void);

/* Let it wait, as the hottest. */
HK_HIDDEN void huge_put(struct huge *h);

/* Take the shortest out that is long enough; NULL if none is. */
HK_HIDDEN struct huge *huge_take_fit(size_t map_len, size_t align);

/* Take the longest out that is not, but worth to be made longer; NULL if none is. */
HK_HIDDEN struct huge *huge_take_part(size_t map_len, size_t align);

/* Take the coldest out, as a list for huge_unmap(): while more than `most` wait; while more than `bytes` wait; what is
 * age_ms old (of those that are stuck, a few for another try; all when age_ms is 0). */
HK_HIDDEN struct huge *huge_take_beyond(uint32_t most);
HK_HIDDEN struct huge *huge_take_beyond_bytes(size_t bytes);
HK_HIDDEN struct huge *huge_take_older(uint64_t now_ms, uint64_t age_ms);

/* How many may stay if, the hottest apart, `bytes` of the coldest are to go. */
HK_HIDDEN uint32_t huge_waiting_without(size_t bytes);

/* Forget all that waits: the lists can't be trusted. */
HK_HIDDEN void huge_abandon(void);

#endif
