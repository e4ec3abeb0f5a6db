/* reclaim.c - see reclaim.h. */
#include "reclaim.h"

#include <errno.h>

#include "ace.h"
#include "ace_huge.h"
#include "lock.h"
#include "os.h"
#include "shared_pool.h"

#define TICKS_PER_DECAY 4 /* how often a decay time is looked at: what waits is given back at most a quarter too late */
#define TICK_MOST_MS 1000

uint64_t reclaim_clock_ms;
uint64_t reclaim_floor;

static struct hk_lock reclaim_lock = HK_LOCK_FREE; /* only ever tried, so it has no place in the order of locks */
static uint64_t next_tick_ms;                      /* any: written under reclaim_lock */

static uint64_t tick_ms(void)
{
    uint64_t ms = hk_config.decay_ms / TICKS_PER_DECAY;
    return ms == 0 ? 1 : ms < TICK_MOST_MS ? ms : TICK_MOST_MS;
}

/* What is cold goes first; then ACE keeps what fits in half the bound, and the SuperSlabs what it leaves of that. */
static size_t purge_excess(uint64_t now_ms)
{
    size_t purged = ace_huge_decay(now_ms, hk_config.decay_ms);
    ace_large_decay(now_ms, hk_config.decay_ms);
    size_t half = reclaim_bound() / 2;
    purged += superslab_purge(now_ms, hk_config.decay_ms, 0);
    if (reclaim_free_bytes() > half) {
        size_t cached = ace_cached_bytes();
        purged += cached > half ? ace_trim(half) : 0;
        cached = ace_cached_bytes();
        purged += superslab_purge(now_ms, 0, cached < half ? half - cached : 0);
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

void reclaim_excess(void)
{
    if (!hk_try_lock(&reclaim_lock))
        return;
    int saved = errno;
    keep_bound(os_now_ms());
    hk_unlock(&reclaim_lock);
    errno = saved;
}

size_t reclaim_decay(uint64_t now_ms)
{
    if (now_ms < atomic_load_relaxed(&next_tick_ms)) {
        reclaim_check();
        return 0;
    }
    if (!hk_try_lock(&reclaim_lock))
        return 0;
    int saved = errno;
    reclaim_set_clock(now_ms);
    atomic_store_relaxed(&next_tick_ms, now_ms + tick_ms());
    uint64_t age_ms = hk_config.decay_ms;
    size_t purged = ace_huge_decay(now_ms, age_ms);
    ace_large_decay(now_ms, age_ms); /* what it gives back is counted where it is purged */
    purged += shared_pool_decay(now_ms, age_ms);
    purged += superslab_purge(now_ms, age_ms, 0);
    purged += keep_bound(now_ms);
    hk_unlock(&reclaim_lock);
    errno = saved;
    return purged;
}

void reclaim_everything(void)
{
    int saved = errno;
    uint64_t now_ms = os_now_ms();
    ace_decay(now_ms, 0);
    shared_pool_decay(now_ms, 0);
    superslab_purge(now_ms, 0, 0);
    superslab_shrink_region();
    errno = saved;
}

void reclaim_after_fork(bool child)
{
    if (child) /* whoever purged is not here */
        hk_lock_reset(&reclaim_lock);
}
