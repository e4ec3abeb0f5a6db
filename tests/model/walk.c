/* walk.c - see walk.h. The invariants are those that src/ states at its types. */
#include "walk.h"

#include "../behaviour/check.h"

#include "../../src/account.h"
#include "../../src/ace_huge_cache.h"
#include "../../src/bin.h"
#include "../../src/config.h"
#include "../../src/guard.h"
#include "../../src/guard_fault.h"
#include "../../src/legacy.h"
#include "../../src/outer_map.h"
#include "../../src/quarantine.h"
#include "../../src/region.h"
#include "../../src/shared_pool.h"
#include "../../src/statistics.h"
#include "../../src/superslab.h"
#include "../../src/thread_cache.h"

struct sums {
    uint64_t superslabs, units_used, units_dirty;
    uint64_t slabs[HK_ACCOUNT_CLASSES];
    uint64_t in_use[HK_ACCOUNT_CLASSES]; /* large: blocks that the program has */
    uint64_t nfree[HK_CACHED_CLASSES], blocks[HK_CACHED_CLASSES];
    uint64_t legacy_chunks, legacy_units, legacy_entries;
    uint64_t huge_live, huge_bytes, huge_waiting, huge_waiting_bytes;
};

static uint32_t mask_of(unsigned first, unsigned units)
{
    return (uint32_t)(((UINT64_C(1) << units) - 1) << first);
}

/* nfree = number of ones in bits[0..blocks), none behind them, none below the hint */
static void walk_slab(const struct slab *slab, struct sums *sums)
{
    unsigned class_idx = slab->class_idx, ones = 0, words = (slab->blocks + 63u) / 64;
    require(slab->units == hk_class_units(class_idx) && slab->per_unit == hk_blocks_per_unit(class_idx) &&
                slab->blocks == slab->units * slab->per_unit,
            "slab %p of class %u: %u units, %u blocks", (void *)slab->base, class_idx, slab->units, slab->blocks);
    for (unsigned w = 0; w < words; w++) {
        uint64_t inside = w + 1 < words || slab->blocks % 64 == 0 ? UINT64_MAX : (UINT64_C(1) << slab->blocks % 64) - 1;
        require((slab->bits[w] & ~inside) == 0, "slab %p: bits behind its %u blocks", (void *)slab->base, slab->blocks);
        require(w >= slab->hint || slab->bits[w] == 0, "slab %p: a one below the hint %u", (void *)slab->base,
                slab->hint);
        ones += (unsigned)__builtin_popcountll(slab->bits[w]);
    }
    require(ones == slab->nfree, "slab %p: %u ones, nfree %u", (void *)slab->base, ones, slab->nfree);
    sums->nfree[class_idx] += slab->nfree;
    sums->blocks[class_idx] += slab->blocks;
    if (slab->nfree == 0) /* in no list */
        return;
    require(slab->next == NULL || slab->next->prev == slab, "slab %p: the next one's prev is %p", (void *)slab->base,
            (void *)slab->next->prev);
    require(slab->prev == NULL || slab->prev->next == slab, "slab %p: the one before has next %p", (void *)slab->base,
            (void *)slab->prev->next);
}

static void walk_run(const struct superslab *ss, unsigned first, struct sums *sums)
{
    const struct slab *run = &ss->runs[first];
    bool cached = run->class_idx < HK_CACHED_CLASSES;
    require(run->base == ss->base + ((size_t)first << HK_UNIT_SHIFT), "run %u of %p has base %p", first,
            (const void *)ss->base, (void *)run->base);
    require(run->class_idx < HK_SIZED_CLASSES, "run %p is of class %u", (void *)run->base, run->class_idx);
    sums->slabs[run->class_idx]++;
    unsigned code = HK_CODE_NONE;
    if (cached) {
        walk_slab(run, sums);
        code = run->sampled ? HK_CODE_NONE : HK_CODE_OF_CLASS(run->class_idx);
    } else {
        sums->in_use[run->class_idx] += run->in_use;
        require(!run->in_use || run->size <= (size_t)run->units << HK_UNIT_SHIFT, "run %p: %zu bytes in %u units",
                (void *)run->base, run->size, run->units);
    }
    uintptr_t unit = ((uintptr_t)run->base - region_base) >> HK_UNIT_SHIFT;
    for (unsigned u = 0; u < run->units; u++)
        require(region_map[unit + u] == (int32_t)hk_bin_at_code(code), "run %p of class %u: unit %u's map entry is %d",
                (void *)run->base, run->class_idx, u, region_map[unit + u]);
}

/* free_units: those in no run; dirty_units & ~free_units = 0 */
static void walk_superslab(const struct superslab *ss, struct sums *sums)
{
    uint32_t used = 0;
    for (unsigned first = 0; first < HK_UNITS_PER_SUPERSLAB; first++) {
        bool begins = ss->run_units >> first & 1;
        require(begins == (ss->runs[first].base != NULL), "SuperSlab %p: run %u begins %d, base %p",
                (const void *)ss->base, first, begins, (void *)ss->runs[first].base);
        if (!begins)
            continue;
        unsigned units = ss->runs[first].units;
        require(units >= 1 && first + units <= HK_UNITS_PER_SUPERSLAB && (used & mask_of(first, units)) == 0,
                "SuperSlab %p: run %u of %u units", (const void *)ss->base, first, units);
        used |= mask_of(first, units);
        walk_run(ss, first, sums);
    }
    require(ss->free_units == ~used, "SuperSlab %p: free %#x, used %#x", (const void *)ss->base, ss->free_units, used);
    require((ss->dirty_units & ~ss->free_units) == 0, "SuperSlab %p: dirty %#x, free %#x", (const void *)ss->base,
            ss->dirty_units, ss->free_units);
    uintptr_t unit = ((uintptr_t)ss->base - region_base) >> HK_UNIT_SHIFT;
    for (unsigned u = 0; u < HK_UNITS_PER_SUPERSLAB; u++)
        require((used >> u & 1) || region_map[unit + u] == (int32_t)hk_bin_at_code(HK_CODE_NONE),
                "SuperSlab %p: free unit %u's map entry is %d", (const void *)ss->base, u, region_map[unit + u]);
    sums->superslabs++;
    sums->units_used += (unsigned)__builtin_popcount(used);
    sums->units_dirty += (unsigned)__builtin_popcount(ss->dirty_units);
}

/* An entry of each unit of a chunk, and of no other. */
static void walk_legacy(const struct slab *slab, const uint8_t *unit, struct sums *sums)
{
    require(unit >= slab->base && unit < slab->base + ((size_t)slab->units << HK_UNIT_SHIFT),
            "legacy chunk %p of %u units is entered at %p", (void *)slab->base, slab->units, (const void *)unit);
    sums->legacy_entries++;
    if (unit != slab->base)
        return;
    require(slab->class_idx < HK_CACHED_CLASSES, "legacy chunk %p is of class %u", (void *)slab->base, slab->class_idx);
    walk_slab(slab, sums);
    sums->slabs[slab->class_idx]++;
    sums->legacy_chunks++;
    sums->legacy_units += slab->units;
}

/* live: in no list;  waiting: !in_use && !stuck;  each is entered at its base */
static void walk_huge(const struct huge *h, const uint8_t *unit, struct sums *sums)
{
    require(h->base == unit, "huge block %p is entered at %p", (void *)h->base, (const void *)unit);
    require(h->mapped % HK_UNIT_SIZE == 0 && (!h->in_use || h->size <= h->mapped), "huge block %p: %zu of %zu bytes",
            (void *)h->base, h->size, h->mapped);
    require(!(h->in_use && h->stuck), "huge block %p is in use, and stuck", (void *)h->base);
    if (h->in_use) {
        sums->huge_live++;
        sums->huge_bytes += h->size;
    } else if (!h->stuck) {
        sums->huge_waiting++;
        sums->huge_waiting_bytes += h->mapped;
        require((h->next == NULL || h->next->prev == h) && (h->prev == NULL || h->prev->next == h),
                "huge block %p: its list is broken", (void *)h->base);
    }
}

static void walk_outer_map(struct sums *sums)
{
    for (uintptr_t high = 0; high < OUTER_LEVEL_SIZE; high++)
        for (uintptr_t low = 0; outer_root[high] != NULL && low < OUTER_LEVEL_SIZE; low++) {
            const uint8_t *unit = (const uint8_t *)((high << OUTER_LEVEL_BITS | low) << HK_UNIT_SHIFT);
            struct outer_entry entry = outer_map_find(unit);
            if (entry.kind == OUTER_LEGACY)
                walk_legacy(entry.owner, unit, sums);
            else if (entry.kind == OUTER_HUGE)
                walk_huge(entry.owner, unit, sums);
        }
    const struct hk_capacity *capacity = &hk_account.capacity;
    require(sums->legacy_chunks == capacity->legacy_chunks && sums->legacy_units == sums->legacy_entries &&
                sums->legacy_units << HK_UNIT_SHIFT == legacy_bytes,
            "%llu legacy chunks of %llu bytes; counted %llu of %llu units, %llu entered",
            (unsigned long long)capacity->legacy_chunks, (unsigned long long)legacy_bytes,
            (unsigned long long)sums->legacy_chunks, (unsigned long long)sums->legacy_units,
            (unsigned long long)sums->legacy_entries);
    require(sums->huge_live == capacity->huge_blocks && sums->huge_bytes == capacity->huge_bytes &&
                sums->huge_waiting == capacity->huge_cached && sums->huge_waiting_bytes == capacity->huge_cached_bytes,
            "%llu huge blocks of %llu bytes live, %llu of %llu wait; counted %llu of %llu, %llu of %llu",
            (unsigned long long)capacity->huge_blocks, (unsigned long long)capacity->huge_bytes,
            (unsigned long long)capacity->huge_cached, (unsigned long long)capacity->huge_cached_bytes,
            (unsigned long long)sums->huge_live, (unsigned long long)sums->huge_bytes,
            (unsigned long long)sums->huge_waiting, (unsigned long long)sums->huge_waiting_bytes);
}

/* Each block of the calling thread's list is sound, of the class, and in use to its slab; there are as many as are counted. */
static void walk_list(unsigned class_idx)
{
    uint32_t length = cache_length(class_idx), seen = 0;
    for (void *block = hk_bin_first(&hk_tls.bins[class_idx + 1]); block != NULL; block = hk_link(block), seen++) {
        require(seen < length, "class %u: a list of %u blocks holds more", class_idx, length);
        const struct slab *slab = superslab_find(block);
        if (slab == NULL)
            slab = legacy_find(block);
        require(slab != NULL && slab->class_idx == class_idx && slab_is_block(slab, block),
                "class %u: its list holds %p", class_idx, block);
        require(!slab_block_is_free(slab, block), "class %u: its list holds %p, which its slab has too", class_idx,
                block);
        require(hk_is_sound(block), "class %u: its list holds %p, which was written to", class_idx, block);
    }
    require(seen == length, "class %u: a list of %u blocks holds %u", class_idx, length, seen);
}

/* LIVE: data <= from <= block, block + size <= data + HK_CACHED_MAX; guard_live() is their number */
static void walk_guard(void)
{
    uint32_t live[HK_CACHED_CLASSES] = {0};
    for (unsigned unit = 1;
         guard_base != 0 && guard_find((void *)(guard_base + ((uintptr_t)unit << HK_UNIT_SHIFT))) != NULL; unit++) {
        const char *from = (const char *)guard_base + ((size_t)unit << HK_UNIT_SHIFT);
        const struct guard_slot *slot = &guard_slots[unit];
        require(slot->state != GUARD_BUSY && slot->state <= GUARD_FREED, "guarded slot %u is in state %u", unit,
                slot->state);
        if (slot->state != GUARD_LIVE)
            continue;
        require(slot->class_idx < HK_CACHED_CLASSES && slot->size <= hk_class_size[slot->class_idx] &&
                    slot->block >= from && slot->block + slot->size <= from + HK_UNIT_SIZE,
                "guarded slot %u: %u bytes of class %u at %p", unit, slot->size, slot->class_idx, (void *)slot->block);
        live[slot->class_idx]++;
    }
    for (unsigned class_idx = 0; class_idx < HK_CACHED_CLASSES; class_idx++)
        require(live[class_idx] == guard_live(class_idx), "class %u: %u guarded blocks live, %u slots", class_idx,
                guard_live(class_idx), live[class_idx]);
}

/* blocks of all slabs = live (but for guarded ones) + free in slabs and chains + in the cache + in quarantine */
static void walk_class(unsigned class_idx, const struct sums *sums, uint32_t quarantined)
{
    struct hk_class_stats stats;
    statistics_of_class(class_idx, &stats);
    const struct hk_class_account *account = &hk_account.classes[class_idx];
    if (class_idx >= HK_CACHED_CLASSES) {
        require(stats.live_blocks == sums->in_use[class_idx], "class %u: %llu blocks live, %llu runs in use", class_idx,
                (unsigned long long)stats.live_blocks, (unsigned long long)sums->in_use[class_idx]);
        require(sums->slabs[class_idx] == sums->in_use[class_idx] + account->cached_blocks,
                "class %u: %llu runs, %llu wait", class_idx, (unsigned long long)sums->slabs[class_idx],
                (unsigned long long)account->cached_blocks);
        return;
    }
    uint64_t waiting = shared_pool_free_blocks(class_idx) + cache_length(class_idx) + quarantined;
    uint64_t live = stats.live_blocks - guard_live(class_idx);
    require(account->slab_blocks == live + waiting, "class %u: %llu blocks in slabs, %llu live, %llu free", class_idx,
            (unsigned long long)account->slab_blocks, (unsigned long long)live, (unsigned long long)waiting);
    require(account->slab_blocks == sums->blocks[class_idx], "class %u: %llu blocks in slabs, counted %llu", class_idx,
            (unsigned long long)account->slab_blocks, (unsigned long long)sums->blocks[class_idx]);
    require(sums->nfree[class_idx] <= shared_pool_free_blocks(class_idx), "class %u: %llu free in slabs, %llu in all",
            class_idx, (unsigned long long)sums->nfree[class_idx],
            (unsigned long long)shared_pool_free_blocks(class_idx));
}

void walk(void)
{
    static struct sums sums;
    static uint32_t quarantined[HK_CACHED_CLASSES];
    const struct hk_capacity *capacity = &hk_account.capacity;
    memset(&sums, 0, sizeof sums);
    quarantine_count(quarantined);
    for (uintptr_t idx = 0; idx < region_top(); idx++)
        if (region_superslab(idx) != NULL)
            walk_superslab(region_superslab(idx), &sums);
    walk_outer_map(&sums);
    walk_guard();
    for (unsigned class_idx = 0; class_idx < HK_CACHED_CLASSES; class_idx++)
        walk_list(class_idx);
    for (unsigned class_idx = 0; class_idx < HK_SIZED_CLASSES; class_idx++)
        walk_class(class_idx, &sums, class_idx < HK_CACHED_CLASSES ? quarantined[class_idx] : 0);
    require(sums.superslabs == capacity->superslabs && sums.units_used == capacity->units_used &&
                sums.units_dirty == capacity->units_free_dirty,
            "%llu SuperSlabs, %llu units used, %llu dirty; counted %llu, %llu, %llu",
            (unsigned long long)capacity->superslabs, (unsigned long long)capacity->units_used,
            (unsigned long long)capacity->units_free_dirty, (unsigned long long)sums.superslabs,
            (unsigned long long)sums.units_used, (unsigned long long)sums.units_dirty);
    struct hk_class_stats huge;
    statistics_of_class(HK_CLASS_HUGE, &huge);
    require(huge.live_blocks == capacity->huge_blocks, "%llu huge blocks live, %llu counted",
            (unsigned long long)huge.live_blocks, (unsigned long long)capacity->huge_blocks);
}

void walk_spoil(unsigned long which)
{
    static void *block;
    struct slab *slab = NULL;
    while (which != 0 && (slab == NULL || slab->nfree == 0)) { /* one that has blocks left */
        block = malloc(48);
        slab = superslab_find(block);
    }
    struct superslab *ss = which != 0 ? region_superslab(((uintptr_t)block - region_base) >> HK_SUPERSLAB_SHIFT) : NULL;
    switch (which) {
    case 1:
        slab->nfree++;
        break;
    case 2:
        slab->hint = UINT16_MAX;
        break;
    case 3:
        ss->free_units ^= 1u << 31;
        break;
    case 4:
        ss->dirty_units |= ~ss->free_units;
        break;
    case 5:
        region_map[((uintptr_t)block - region_base) >> HK_UNIT_SHIFT]++;
        break;
    case 6:
        hk_account.capacity.units_used++;
        break;
    case 7:
        hk_account.classes[slab->class_idx].frees++;
        break;
    case 8:
        hk_account.classes[HK_CACHED_CLASSES].allocs++;
        break;
    case 9: /* a block of the list is its slab's too */
        free(block);
        require(slab_give(superslab_find(block), block) == SLAB_GIVEN, "slab_give");
        break;
    case 10:
        block = malloc(8 << 20);
        ((struct huge *)outer_map_find(block).owner)->size++;
        break;
    case 11:
        block = malloc(8 << 20);
        outer_map_clear(block, 1);
        break;
    case 12:
        legacy_bytes += HK_UNIT_SIZE;
        break;
    case 13:
        free(block);
        ((uintptr_t *)block)[1]++;
        break;
    default:
        break;
    }
}
