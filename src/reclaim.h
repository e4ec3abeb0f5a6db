/* reclaim.h - when free memory goes back to the system: what has waited for decay_ms, and at once what exceeds the bound,
 * since a memory cgroup does not refuse memory, it kills.
 *
 *   free   =  free units that may be dirty  +  runs and mappings that wait in ACE
 *   live   =  units in use, but those of runs that wait  +  huge blocks
 *   free  <=  retain + live / 8,    else it is brought below half of that
 *
 * live counts what was handed to classes, not what the program holds: thread caches' blocks and slabs that are partly used
 * are in it. It is exact where it matters, for large blocks, and costs no count on any fast path. */
#ifndef HK_RECLAIM_H
#define HK_RECLAIM_H

#include "ace_large.h"
#include "base.h"
#include "config.h"
#include "superslab.h"

/* The clock as the last tick read it, in ms: a stamp that costs nothing. any: */
extern HK_HIDDEN uint64_t reclaim_clock_ms;

/* any: bytes that the last purge could not bring down (a refused unmapping); not tried again until there is more. */
extern HK_HIDDEN uint64_t reclaim_floor;

static inline void reclaim_set_clock(uint64_t now_ms)
{
    if (atomic_load_relaxed(&reclaim_clock_ms) != now_ms) /* it seldom moves: leave the line shared */
        atomic_store_relaxed(&reclaim_clock_ms, now_ms);
}

static inline size_t reclaim_free_bytes(void)
{
    return superslab_dirty_bytes() + (size_t)atomic_load_relaxed(&ace_large_posted) +
           (size_t)atomic_load_relaxed(&hk_capacity.huge_cached_bytes);
}

static inline size_t reclaim_bound(void)
{
    uint64_t units = atomic_load_relaxed(&hk_capacity.units_used) << HK_UNIT_SHIFT;
    uint64_t waiting = atomic_load_relaxed(&ace_large_posted);
    uint64_t live = (units > waiting ? units - waiting : 0) + atomic_load_relaxed(&hk_capacity.huge_bytes);
    return (size_t)(hk_config.retain + live / 8);
}

/* The bound is exceeded: purge, oldest first, down to half of it. One thread at a time; others go on. */
HK_HIDDEN HK_COLD void reclaim_excess(void);

/* To be called wherever free memory grows, with no lock held: after a run or a slab went back, after a huge free. */
static inline void reclaim_check(void)
{
    size_t free_bytes = reclaim_free_bytes();
    if (hk_unlikely(free_bytes > reclaim_bound() && free_bytes > atomic_load_relaxed(&reclaim_floor)))
        reclaim_excess();
}

/* At a tick, with no lock held: purge what is older than hk_config.decay_ms, and keep the bound. Returns bytes given back,
 * 0 at the cost of a few loads when nothing is due or another thread is at it. */
HK_HIDDEN size_t reclaim_decay(uint64_t now_ms);

/* MapFail: purge every cache and shrink the region, so that the caller may try once more. Takes ACE's, the pools' and the
 * superslab lock, one at a time: the caller holds none. errno kept. */
HK_HIDDEN HK_COLD void reclaim_everything(void);

HK_HIDDEN void reclaim_after_fork(bool child);

#endif
