/* reclaim.h - when free memory goes back to the system: what has waited for decay_ms, and at once what exceeds a
 * bound, since a memory cgroup does not refuse memory, it kills.
 *
 *   free   =  free units that may be dirty  +  runs and mappings that wait in ACE
 *   live   =  units in use, but for runs that wait  +  the fallback's chunks  +  huge blocks
 *   slack  =  retain + live / 2
 *   free  <=  slack + max(peak - live, 0),  else it is brought down by half of the slack below that
 *
 * Near the limit of a memory cgroup both slack and peak give way:  free <= max(1 MiB, (limit * 7/8 - live) / 2),  and the free
 * blocks of sparse slabs are free memory too. Elsewhere those go by age alone: page by page they cost more than they give.
 *
 * peak is the most that was live within the last decay_ms or two: what was in use a moment ago may wait for its
 * return, so that a program which allocates and frees great blocks again and again does not fault them in each time;
 * live + free exceeds a recent peak by no more than the slack. live counts what was handed to classes, not what the
 * program holds: thread caches' blocks and partly used slabs are in it. It is exact where it matters, for large
 * blocks, and costs no count on any fast path. */
#ifndef HK_RECLAIM_H
#define HK_RECLAIM_H

#include "ace_large.h"
#include "base.h"
#include "config.h"
#include "legacy.h"
#include "shared_pool.h"
#include "superslab.h"

/* The clock as the last tick read it, in ms: a stamp that costs nothing. any: */
extern HK_HIDDEN uint64_t reclaim_clock_ms;

/* any: what resident memory should keep below: seven eighths of the memory cgroup's limit. UINT64_MAX: none, or not read yet. */
extern HK_HIDDEN uint64_t reclaim_limit;

/* However near the limit is, so much may be free: a bound of nothing would purge at every free. */
#define RECLAIM_LEAST ((uint64_t)1 << 20)

/* How long caches and chains hold what is idle when the limit is near, in ms. */
#define RECLAIM_TIGHT_MS 5u

/* any: bytes that the last purge could not bring down (a refused unmapping); not tried again until there is more. */
extern HK_HIDDEN uint64_t reclaim_floor;

/* any: the most that was live in this decay time and the one before; in this one alone. */
extern HK_HIDDEN uint64_t reclaim_peak, reclaim_window_peak;

static inline void reclaim_set_clock(uint64_t now_ms)
{
    if (atomic_load_relaxed(&reclaim_clock_ms) != now_ms) /* it seldom moves: leave the line shared */
        atomic_store_relaxed(&reclaim_clock_ms, now_ms);
}

/* What classes and blocks hold, sparse slabs whole. */
static inline uint64_t reclaim_held_bytes(void)
{
    uint64_t units = atomic_load_relaxed(&hk_account.capacity.units_used) << HK_UNIT_SHIFT;
    uint64_t waiting = atomic_load_relaxed(&ace_large_posted);
    return (units > waiting ? units - waiting : 0) + atomic_load_relaxed(&legacy_bytes) +
           atomic_load_relaxed(&hk_account.capacity.huge_bytes);
}

/* The cgroup's limit is near: caches are to hold little, and not for long. An eighth, not the half of the slack: else a process that
 * fills half of its limit would have no caches already. */
static inline bool reclaim_is_tight(void)
{
    uint64_t limit = atomic_load_relaxed(&reclaim_limit);
    if (hk_likely(limit == UINT64_MAX))
        return false;
    uint64_t held = reclaim_held_bytes();
    return held + 2 * (hk_config.retain + held / 8) > limit;
}

static inline uint64_t reclaim_sparse_bytes(void)
{
    return reclaim_is_tight() ? atomic_load_relaxed(&shared_pool_sparse) : 0;
}

static inline size_t reclaim_free_bytes(void)
{
    return superslab_dirty_bytes() + (size_t)atomic_load_relaxed(&ace_large_posted) +
           (size_t)atomic_load_relaxed(&hk_account.capacity.huge_cached_bytes) + (size_t)reclaim_sparse_bytes();
}

static inline uint64_t reclaim_live_bytes(void)
{
    uint64_t held = reclaim_held_bytes(), sparse = reclaim_sparse_bytes();
    return held > sparse ? held - sparse : 0;
}

/* The least of a bound and of what the cgroup's limit leaves beside what is live. */
static inline size_t reclaim_within_limit(uint64_t bound, uint64_t live)
{
    uint64_t limit = atomic_load_relaxed(&reclaim_limit), left = limit > live ? (limit - live) / 2 : 0;
    uint64_t most = left > RECLAIM_LEAST ? left : RECLAIM_LEAST;
    return (size_t)(bound < most ? bound : most);
}

static inline size_t reclaim_slack(uint64_t live)
{
    return reclaim_within_limit(hk_config.retain + live / 2, live);
}

static inline size_t reclaim_bound(void)
{
    uint64_t live = reclaim_live_bytes(), peak = atomic_load_relaxed(&reclaim_peak);
    uint64_t recent = peak > live ? peak - live : 0;
    return reclaim_within_limit(reclaim_slack(live) + recent, live);
}

/* The bound is exceeded: purge, oldest first. One thread at a time; others go on. */
HK_HIDDEN HK_COLD void reclaim_excess(void);

/* More is live than ever in this decay time. */
HK_HIDDEN HK_COLD void reclaim_raise_peak(uint64_t live);

/* To be called with no lock held where free memory grows: after a run or a slab went back, after a huge free; and where
 * live memory does, since what was free beside a peak is too much beside the next. */
static inline void reclaim_check(void)
{
    size_t free_bytes = reclaim_free_bytes();
    uint64_t live = reclaim_live_bytes();
    if (hk_unlikely(live > atomic_load_relaxed(&reclaim_window_peak)))
        reclaim_raise_peak(live);
    if (hk_unlikely(free_bytes > reclaim_bound() && free_bytes > atomic_load_relaxed(&reclaim_floor)))
        reclaim_excess();
}

/* At a tick, with no lock held: purge what is older than hk_config.decay_ms, and keep the bound. Returns bytes given
 * back, 0 at the cost of a few loads when nothing is due or another thread is at it. */
HK_HIDDEN size_t reclaim_decay(uint64_t now_ms);

/* const: after heap_init(). Empties the calling thread's cache, which stands above this layer. */
extern HK_HIDDEN void (*reclaim_own_cache)(void);

/* MapFail: purge every cache, the calling thread's included, so that the caller may try once more; and shrink the region, which never
 * grows again, where it is addresses that `wanted` bytes lack. Takes ACE's, the pools' and the superslab lock, one at a time: the
 * caller holds none. errno kept. */
HK_HIDDEN HK_COLD void reclaim_everything(size_t wanted);

/* Where misuse is found: if it is the calling thread that is at it, it leaves off. */
HK_HIDDEN void reclaim_break_off(void);

HK_HIDDEN void reclaim_after_fork(bool child);

#endif
