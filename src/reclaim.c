/* reclaim.c - see reclaim.h. */
#include "reclaim.h"

#include <errno.h>

#include "ace.h"
#include "ace_huge.h"
#include "lock.h"
#include "os.h"
#include "quarantine.h"
#include "shared_pool.h"

#define TICKS_PER_DECAY 4 /* how often a decay time is looked at: what waits is given back at most a quarter too late */
#define TICK_MOST_MS 1000
#define LIMIT_MS 2000                     /* between two looks at the cgroup's limit */
#define LIMIT_MAPPED ((uint64_t)16 << 20) /* bytes mapped before the first */

uint64_t reclaim_clock_ms;
void (*reclaim_own_cache)(void);
uint64_t reclaim_floor;
uint64_t reclaim_limit = UINT64_MAX;
uint64_t reclaim_peak, reclaim_window_peak;

static struct hk_lock reclaim_lock = HK_LOCK_FREE; /* only ever tried, so it has no place in the order of locks */
static const void *reclaimer;                      /* any: who holds it, by the address of its errno */
static uint64_t next_tick_ms;                      /* any: written under reclaim_lock */
static uint64_t next_window_ms;                    /* lock: reclaim */
static uint64_t next_limit_ms;                     /* lock: reclaim */

static uint64_t tick_ms(void)
{
    uint64_t ms = hk_config.decay_ms / TICKS_PER_DECAY;
    return ms == 0 ? 1 : ms < TICK_MOST_MS ? ms : TICK_MOST_MS;
}

void reclaim_raise_peak(uint64_t live)
{
    atomic_store_relaxed(&reclaim_window_peak, live);
    if (live > atomic_load_relaxed(&reclaim_peak))
        atomic_store_relaxed(&reclaim_peak, live);
}

/* Read the cgroup's limit, but not for a process that is too small to come near one, and seldom: it may move, or its process. */
static void learn_limit(uint64_t now_ms)
{
    if (now_ms < next_limit_ms || atomic_load_relaxed(&os_account.mapped) < LIMIT_MAPPED)
        return;
    next_limit_ms = now_ms + LIMIT_MS;
    uint64_t limit = os_memory_limit();
    atomic_store_relaxed(&reclaim_limit, limit == UINT64_MAX ? limit : limit - limit / 8);
}

/* A decay time ends: what was the peak before it is forgotten. */
static void next_window(uint64_t now_ms)
{
    if (now_ms < next_window_ms)
        return;
    uint64_t live = reclaim_live_bytes(), last = atomic_load_relaxed(&reclaim_window_peak);
    next_window_ms = now_ms + hk_config.decay_ms;
    atomic_store_relaxed(&reclaim_window_peak, live);
    atomic_store_relaxed(&reclaim_peak, last > live ? last : live);
}

/* What is cold goes first. Of what may stay, mappings hold half at most, runs an eighth, and units, which serve all,
 * the rest. */
static size_t purge_excess(uint64_t now_ms)
{
    size_t purged = ace_huge_decay(now_ms, hk_config.decay_ms);
    ace_large_decay(now_ms, hk_config.decay_ms);
    if (reclaim_is_tight())
        purged += shared_pool_decay(now_ms, RECLAIM_TIGHT_MS);
    purged += superslab_purge(now_ms, hk_config.decay_ms, 0);
    size_t bound = reclaim_bound(),
           half = reclaim_slack(reclaim_live_bytes()) / 2; /* what is live may grow in between */
    size_t keep = bound > half ? bound - half : 0;
    if (reclaim_free_bytes() > keep) {
        if (reclaim_sparse_bytes() > keep / 4)
            purged += shared_pool_purge(now_ms);
        purged += ace_huge_trim(keep / 2);
        ace_large_trim(keep / 8);
        size_t cached = ace_cached_bytes() + reclaim_sparse_bytes();
        purged += superslab_purge(now_ms, 0, cached < keep ? keep - cached : 0);
    }
    return purged;
}

/* Under reclaim_lock. */
static size_t keep_bound(uint64_t now_ms)
{
    if (reclaim_free_bytes() <= reclaim_bound())
        return 0;
    size_t purged = purge_excess(now_ms), left = reclaim_free_bytes(), bound = reclaim_bound();
    atomic_store_relaxed(&reclaim_floor, left > bound ? left + bound / 2 : 0);
    return purged;
}

static bool begin(void)
{
    if (!hk_try_lock(&reclaim_lock))
        return false;
    atomic_store_relaxed(&reclaimer, (const void *)&errno);
    return true;
}

static void end(void)
{
    atomic_store_relaxed(&reclaimer, NULL);
    hk_unlock(&reclaim_lock);
}

void reclaim_break_off(void)
{
    if (atomic_load_relaxed(&reclaimer) == &errno)
        end();
}

void reclaim_excess(void)
{
    if (!begin())
        return;
    int saved = errno;
    keep_bound(os_now_ms());
    end();
    errno = saved;
}

size_t reclaim_decay(uint64_t now_ms)
{
    if (now_ms < atomic_load_relaxed(&next_tick_ms)) {
        reclaim_check();
        return 0;
    }
    if (!begin())
        return 0;
    int saved = errno;
    reclaim_set_clock(now_ms);
    atomic_store_relaxed(&next_tick_ms, now_ms + tick_ms());
    next_window(now_ms);
    learn_limit(now_ms);
    uint64_t age_ms = hk_config.decay_ms;
    size_t purged = ace_huge_decay(now_ms, age_ms);
    ace_large_decay(now_ms, age_ms); /* what it gives back is counted where it is purged */
    purged += shared_pool_decay(now_ms, age_ms);
    purged += superslab_purge(now_ms, age_ms, 0);
    purged += keep_bound(now_ms);
    end();
    errno = saved;
    return purged;
}

void reclaim_everything(size_t wanted)
{
    int saved = errno;
    uint64_t now_ms = os_now_ms();
    if (reclaim_own_cache != NULL)
        reclaim_own_cache();
    quarantine_flush();
    ace_decay(now_ms, 0);
    shared_pool_decay(now_ms, 0);
    superslab_purge(now_ms, 0, 0);
    if (os_lacks_addresses(wanted))
        superslab_shrink_region();
    errno = saved;
}

void reclaim_after_fork(bool child)
{
    if (child) { /* whoever purged is not here */
        atomic_store_relaxed(&reclaimer, NULL);
        hk_lock_reset(&reclaim_lock);
    }
}
