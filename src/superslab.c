#include "superslab.h"

#include <errno.h>
#include <string.h>

#include "../probes/probe.h"
#include "bin.h"
#include "config.h"
#include "lock.h"
#include "meta.h"
#include "os.h"
#include "region.h"

#define ALL_UNITS UINT32_MAX
#define BUCKETS 6u  /* by the longest run of units: 1, 2-3, 4-7, 8-15, 16-31, 32 */
#define LOOKS 8u    /* SuperSlabs of a list that are looked at, for the fullest */
#define GIVE_RUN 8u /* empty SuperSlabs in a row that are worth a hole in the mapping */

static struct hk_lock superslab_lock = HK_LOCK_FREE;
static struct superslab *available[SUPERSLAB_KINDS][BUCKETS]; /* lock: superslab; latest first */

/* The bits at which a run of `units` ones begins. (H. S. Warren, "Hacker's Delight", 6-2.) */
static uint32_t run_starts(uint32_t mask, unsigned units)
{
    while (units > 1 && mask != 0) {
        unsigned shift = units / 2;
        mask &= mask >> shift;
        units -= shift;
    }
    return mask;
}

/* floor(log2) of the longest run of ones, -1 for none. */
static int bucket_of(uint32_t mask)
{
    int bucket = -1;
    for (unsigned shift = 1; mask != 0; shift *= 2) {
        bucket++;
        mask = shift < 32 ? mask & mask >> shift : 0;
    }
    return bucket;
}

static uint32_t unit_mask(unsigned first, unsigned units)
{
    return (units == 32 ? ALL_UNITS : (1u << units) - 1) << first;
}

static uint32_t aligned_starts(unsigned align_units)
{
    uint32_t mask = 1;
    for (unsigned step = align_units; step < HK_UNITS_PER_SUPERSLAB; step *= 2)
        mask |= mask << step;
    return mask;
}

static uint32_t units_of(const struct superslab *ss, enum superslab_kind kind)
{
    return kind == UNITS_DIRTY ? ss->dirty_units : ss->free_units;
}

static void move_to_bucket(struct superslab *ss, enum superslab_kind kind, int bucket)
{
    struct superslab_link *link = &ss->links[kind];
    if (link->bucket == bucket)
        return;
    if (link->bucket >= 0) {
        *(link->prev != NULL ? &link->prev->links[kind].next : &available[kind][link->bucket]) = link->next;
        if (link->next != NULL)
            link->next->links[kind].prev = link->prev;
    }
    link->bucket = bucket;
    if (bucket < 0)
        return;
    struct superslab **first = &available[kind][bucket];
    link->prev = NULL;
    link->next = *first;
    if (*first != NULL)
        (*first)->links[kind].prev = ss;
    *first = ss;
}

static void unlink_available(struct superslab *ss)
{
    for (unsigned kind = 0; kind < SUPERSLAB_KINDS; kind++)
        move_to_bucket(ss, kind, -1);
}

static void relink_available(struct superslab *ss)
{
    for (unsigned kind = 0; kind < SUPERSLAB_KINDS; kind++)
        move_to_bucket(ss, kind, bucket_of(units_of(ss, kind)));
}

static struct superslab *superslab_of(const void *ptr)
{
    return region_superslab(((uintptr_t)ptr - region_base) >> HK_SUPERSLAB_SHIFT);
}

/* (H. S. Warren, "Hacker's Delight", 5-1.) Without an option of its own the compiler calls a function for it. */
static unsigned count_units(uint32_t mask)
{
    mask -= mask >> 1 & 0x55555555;
    mask = (mask & 0x33333333) + (mask >> 2 & 0x33333333);
    mask = (mask + (mask >> 4)) & 0x0f0f0f0f;
    return mask * 0x01010101 >> 24;
}

/* Of a count that is written under the lock alone. */
static void count_up(uint64_t *count, unsigned by, unsigned less)
{
    atomic_store_relaxed(count, *count + by - less);
}

static void count_dirty(uint32_t before, uint32_t after)
{
    count_up(&hk_account.capacity.units_free_dirty, count_units(after), count_units(before));
}

struct place {
    struct superslab *ss;
    unsigned first; /* unit */
};

/* The list of the shortest runs first, so that long ones last; of some SuperSlabs there the fullest, so that others empty. Runs of
 * the first list may be too short, or not aligned; from the second next on each will do (2 n - 1 units hold n aligned to n). */
static struct place find_place_of(enum superslab_kind kind, unsigned units, uint32_t starts)
{
    for (unsigned bucket = 31u - (unsigned)__builtin_clz(units); bucket < BUCKETS; bucket++) {
        struct place best = {NULL, 0};
        unsigned looks = LOOKS, least = HK_UNITS_PER_SUPERSLAB + 1;
        for (struct superslab *ss = available[kind][bucket]; ss != NULL && looks > 0; ss = ss->links[kind].next) {
            uint32_t at = run_starts(units_of(ss, kind), units) & starts;
            looks--;
            if (at == 0)
                continue;
            unsigned left = count_units(ss->free_units);
            if (left < least) {
                least = left;
                best = (struct place){ss, (unsigned)__builtin_ctz(at)};
            }
        }
        if (best.ss != NULL)
            return best;
    }
    return (struct place){NULL, 0};
}

/* Where the pages are there already, if possible. */
static struct place find_place(unsigned units, uint32_t starts)
{
    struct place place = find_place_of(UNITS_DIRTY, units, starts);
    return place.ss != NULL ? place : find_place_of(UNITS_FREE, units, starts);
}

/* [from, to) become used. */
static void use_units(struct superslab *ss, unsigned from, unsigned to)
{
    uint32_t mask = unit_mask(from, to - from), dirty = ss->dirty_units;
    ss->free_units &= ~mask;
    ss->dirty_units &= ~mask;
    count_dirty(dirty, ss->dirty_units);
    count_up(&hk_account.capacity.units_used, to - from, 0);
    relink_available(ss);
}

static struct slab *take_run(struct superslab *ss, unsigned first, unsigned units, unsigned class_idx, bool *zeroed)
{
    *zeroed = (ss->dirty_units & unit_mask(first, units)) == 0;
    use_units(ss, first, first + units);
    struct slab *slab = &ss->runs[first];
    slab->bits = ss->bits[first];
    atomic_store_relaxed(&slab->class_idx, (uint16_t)class_idx);
    atomic_store_relaxed(&slab->units, (uint16_t)units);
    atomic_store_relaxed(&ss->run_units, ss->run_units | 1u << first);
    slab->next = slab->prev = NULL;
    atomic_store_release(&slab->base, ss->base + ((size_t)first << HK_UNIT_SHIFT));
    return slab;
}

static struct superslab *map_superslab(enum hk_shared_fail *fail)
{
    if (atomic_load_relaxed(&hk_account.capacity.superslabs) >= hk_config.superslabs) {
        *fail = SHARED_FAIL_CAP;
        return NULL;
    }
    struct superslab *ss = meta_alloc(sizeof *ss);
    uint8_t *base = NULL;
    enum region_result result = ss == NULL ? REGION_REFUSED : region_take(&base);
    if (result != REGION_OK) {
        *fail = result == REGION_FULL ? SHARED_FAIL_REGION : SHARED_FAIL_KERNEL;
        if (ss != NULL)
            meta_free(ss, sizeof *ss);
        return NULL;
    }
    ss->base = base;
    ss->free_units = ALL_UNITS;
    for (unsigned kind = 0; kind < SUPERSLAB_KINDS; kind++)
        ss->links[kind].bucket = -1;
    region_set_superslab(base, ss);
    uint64_t count = atomic_add_relaxed(&hk_account.capacity.superslabs, 1) + 1;
    if (count > atomic_load_relaxed(&hk_account.capacity.superslabs_peak))
        atomic_store_relaxed(&hk_account.capacity.superslabs_peak, count);
    HK_PROBE_FIRE(superslab_map, base, count);
    return ss;
}

struct superslab_run superslab_take(unsigned units, unsigned align_units, unsigned class_idx)
{
    struct superslab_run run = {.server = SERVED_EMPTY_SLAB};
    uint32_t starts = aligned_starts(align_units);
    int saved = errno;
    hk_lock(&superslab_lock);
    struct place place = find_place(units, starts);
    if (place.ss != NULL)
        run.slab = take_run(place.ss, place.first, units, class_idx, &run.zeroed);
    if (run.slab == NULL) {
        struct superslab *ss = map_superslab(&run.fail);
        run.server = SERVED_SUPERSLAB;
        if (ss != NULL)
            run.slab = take_run(ss, 0, units, class_idx, &run.zeroed);
    }
    if (run.slab != NULL || run.fail != SHARED_FAIL_KERNEL)
        errno = saved;
    hk_unlock(&superslab_lock);
    return run;
}

bool superslab_extend(struct slab *slab, unsigned units)
{
    struct superslab *ss = superslab_of(slab->base);
    unsigned first = (unsigned)(slab - ss->runs), end = first + slab->units;
    if (first + units > HK_UNITS_PER_SUPERSLAB)
        return false;
    uint32_t behind = unit_mask(end, units - slab->units);
    hk_lock(&superslab_lock);
    bool free = (ss->free_units & behind) == behind;
    if (free) {
        use_units(ss, end, first + units);
        atomic_store_relaxed(&slab->units, (uint16_t)units);
    }
    hk_unlock(&superslab_lock);
    return free;
}

void superslab_set_code(const struct slab *slab, unsigned code)
{
    uintptr_t unit = ((uintptr_t)slab->base - region_base) >> HK_UNIT_SHIFT;
    int32_t at = (int32_t)hk_bin_at_code(code);
    for (unsigned u = 0; u < slab->units; u++)
        atomic_store_release(&region_map[unit + u], at);
}

static void release_units(struct superslab *ss, uint32_t mask, bool dirty)
{
    uint32_t before = ss->dirty_units;
    ss->free_units |= mask;
    if (dirty)
        ss->dirty_units |= mask;
    count_dirty(before, ss->dirty_units);
    relink_available(ss);
}

static void give(struct slab *slab, bool dirty)
{
    struct superslab *ss = superslab_of(slab->base);
    if (slab->class_idx < HK_CACHED_CLASSES)
        superslab_set_code(slab, HK_CODE_NONE);
    hk_lock(&superslab_lock);
    unsigned first = (unsigned)(slab - ss->runs), units = slab->units;
    atomic_store_relaxed(&slab->in_use, false);
    atomic_store_release(&slab->base, NULL);
    atomic_store_relaxed(&ss->run_units, ss->run_units & ~(1u << first));
    ss->last_free_ms = os_now_ms();
    count_up(&hk_account.capacity.units_used, 0, units);
    release_units(ss, unit_mask(first, units), dirty);
    hk_unlock(&superslab_lock);
}

void superslab_give(struct slab *slab)
{
    give(slab, true);
}

void superslab_give_clean(struct slab *slab)
{
    give(slab, false);
}

struct slab *superslab_find(const void *ptr)
{
    uintptr_t unit = ((uintptr_t)ptr - region_base) >> HK_UNIT_SHIFT;
    if (unit >= atomic_load_relaxed(&region_units))
        return NULL;
    struct superslab *ss = superslab_of(ptr);
    if (ss == NULL)
        return NULL;
    unsigned in_superslab = unit % HK_UNITS_PER_SUPERSLAB;
    unsigned first = superslab_first_unit(atomic_load_relaxed(&ss->run_units), in_superslab);
    if (first == HK_UNITS_PER_SUPERSLAB)
        return NULL;
    struct slab *slab = &ss->runs[first];
    if (atomic_load_acquire(&slab->base) == NULL) /* pairs with take_run() */
        return NULL;
    return in_superslab - first < atomic_load_relaxed(&slab->units) ? slab : NULL;
}

/* Purge the SuperSlab's dirty units. They are taken meanwhile, so that the lock is not held while the kernel works. */
static size_t purge_units(struct superslab *ss)
{
    uint32_t mask = ss->free_units & ss->dirty_units, dirty = ss->dirty_units;
    size_t purged = 0;
    ss->free_units &= ~mask;
    ss->dirty_units &= ~mask;
    count_dirty(dirty, ss->dirty_units);
    relink_available(ss);
    hk_unlock(&superslab_lock);
    uint32_t left = mask, failed = 0;
    while (left != 0) {
        unsigned first = (unsigned)__builtin_ctz(left);
        uint32_t above = ~(left >> first);
        unsigned units = above == 0 ? 32 : (unsigned)__builtin_ctz(above);
        size_t len = (size_t)units << HK_UNIT_SHIFT;
        if (os_purge(ss->base + ((size_t)first << HK_UNIT_SHIFT), len))
            purged += len;
        else
            failed |= unit_mask(first, units);
        left &= ~unit_mask(first, units);
    }
    hk_lock(&superslab_lock);
    release_units(ss, failed, true);
    release_units(ss, mask & ~failed, false);
    return purged;
}

static bool is_empty(uintptr_t idx)
{
    const struct superslab *ss = region_superslab(idx);
    return ss != NULL && ss->free_units == ALL_UNITS && ss->dirty_units == 0;
}

static void unmap_run(uintptr_t idx, unsigned count)
{
    uint8_t *base = region_superslab(idx)->base;
    if (!region_give(base, count))
        return;
    for (unsigned i = 0; i < count; i++) {
        struct superslab *ss = region_superslab(idx + i);
        unlink_available(ss);
        region_set_superslab(ss->base, NULL);
        uint64_t left = atomic_sub_relaxed(&hk_account.capacity.superslabs, 1) - 1;
        HK_PROBE_FIRE(superslab_unmap, ss->base, left);
        meta_free(ss, sizeof *ss);
    }
}

/* Empty SuperSlabs go back in runs, since each hole costs a mapping; and at the region's top, where it costs none. The lowest is
 * kept for the next burst: it is purged, so that only its addresses are held. */
static void unmap_empty(unsigned least_run)
{
    uintptr_t kept = region_first(), end = region_top();
    while (end > kept + 1) {
        uintptr_t idx = end;
        while (idx > kept + 1 && is_empty(idx - 1))
            idx--;
        unsigned count = (unsigned)(end - idx);
        if (count >= least_run || (count > 0 && end == region_top()))
            unmap_run(idx, count);
        end = count > 0 ? idx : end - 1;
    }
}

size_t superslab_purge(uint64_t now_ms, uint64_t age_ms, size_t keep)
{
    size_t purged = 0;
    int saved = errno;
    hk_lock(&superslab_lock);
    /* From the top: low addresses fill first, so that the high ones empty. */
    for (uintptr_t idx = region_top(); idx-- > 0 && superslab_dirty_bytes() > keep;) {
        struct superslab *ss = region_superslab(idx);
        if (ss != NULL && (ss->free_units & ss->dirty_units) != 0 && os_is_aged(ss->last_free_ms, now_ms, age_ms))
            purged += purge_units(ss);
    }
    unmap_empty(GIVE_RUN);
    hk_unlock(&superslab_lock);
    errno = saved;
    return purged;
}

bool superslab_shrink_region(void)
{
    hk_lock(&superslab_lock);
    unmap_empty(1);
    bool shrunk = region_shrink();
    hk_unlock(&superslab_lock);
    return shrunk;
}

void superslab_before_fork(void)
{
    hk_lock(&superslab_lock);
}

/* A thread that is not here was in the middle of a change: what is free
 * counts as dirty. A SuperSlab without a used unit may have been on its way out, its memory gone: it is abandoned. */
static void abandon(struct superslab *ss)
{
    if (ss->free_units == ALL_UNITS)
        ss->free_units = 0;
    ss->dirty_units = ss->free_units;
}

/* The masks are whole, but for units that a thread which is not here had taken to purge: no run lies in them. */
static void regain(struct superslab *ss)
{
    uint32_t in_runs = 0;
    for (uint32_t left = ss->run_units; left != 0; left &= left - 1) {
        unsigned first = (unsigned)__builtin_ctz(left);
        in_runs |= unit_mask(first, ss->runs[first].units);
    }
    ss->dirty_units |= ~in_runs & ~ss->free_units;
    ss->free_units = ~in_runs;
}

/* In a child, each SuperSlab by `mend`; lists and sums are made anew. */
static void rebuild(void (*mend)(struct superslab *ss))
{
    uint64_t used = 0, dirty = 0;
    memset(available, 0, sizeof available);
    for (uintptr_t idx = 0; idx < region_top(); idx++) {
        struct superslab *ss = region_superslab(idx);
        if (ss == NULL)
            continue;
        mend(ss);
        for (unsigned kind = 0; kind < SUPERSLAB_KINDS; kind++)
            ss->links[kind].bucket = -1;
        relink_available(ss);
        dirty += count_units(ss->dirty_units);
        used += count_units(~ss->free_units);
    }
    atomic_store_relaxed(&hk_account.capacity.units_free_dirty, dirty);
    atomic_store_relaxed(&hk_account.capacity.units_used, used);
}

void superslab_after_fork(bool child, bool raw_child)
{
    if (child)
        rebuild(raw_child && hk_lock_is_held(&superslab_lock) ? abandon : regain);
    if (raw_child)
        hk_lock_reset(&superslab_lock);
    else
        hk_unlock(&superslab_lock);
}
