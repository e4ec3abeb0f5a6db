/* superslab.h - SuperSlabs: 2 MiB of the region, 32 units; who has which unit, and which units may be dirty.
 *
 *   dirty_units & ~free_units = 0        a free unit that is not in dirty_units reads as zeros
 *
 * A run is 1..32 adjacent units of one SuperSlab: a slab of a cached class, or one large block. The slab map says a run's
 * bin (that of HK_CODE_NONE for large), the SuperSlab's `runs[first unit]` describes it. */
#ifndef HK_SUPERSLAB_H
#define HK_SUPERSLAB_H

#include "account.h"
#include "base.h"
#include "slab.h"

/* Of what kind of units a run is looked for: its pages are there already, or it may have none. */
enum superslab_kind { UNITS_DIRTY, UNITS_FREE, SUPERSLAB_KINDS };

struct superslab_link {
    struct superslab *next, *prev;
    int bucket; /* floor(log2) of the longest run of units of the kind; -1: there are none, and it is in no list */
};

struct superslab {
    uint8_t *base;                                /* const: */
    uint32_t free_units;                          /* lock: superslab */
    uint32_t dirty_units;                         /* lock: superslab; of the free units, those that may hold old data */
    struct superslab_link links[SUPERSLAB_KINDS]; /* lock: superslab */
    uint32_t run_units;    /* lock: superslab; first units of runs: a unit's run is that of the last at or below it */
    uint64_t last_free_ms; /* lock: superslab */
    struct slab runs[HK_UNITS_PER_SUPERSLAB]; /* by first unit */
    uint64_t bits[HK_UNITS_PER_SUPERSLAB][HK_SLAB_BITMAP_WORDS];
};

struct superslab_run {
    struct slab *slab;     /* descriptor of the run; its `base` and `units` are set, the rest is the taker's to fill */
    bool zeroed;           /* every byte of it reads 0 */
    enum hk_server server; /* SERVED_EMPTY_SLAB or SERVED_SUPERSLAB */
    enum hk_shared_fail fail; /* why, when slab is NULL; errno is the kernel's for SHARED_FAIL_KERNEL */
};

/* The first unit of the run that `unit` would lie in, HK_UNITS_PER_SUPERSLAB when none begins at or below it. */
static inline unsigned superslab_first_unit(uint32_t run_units, unsigned unit)
{
    uint32_t at_or_below = run_units & UINT32_MAX >> (HK_UNITS_PER_SUPERSLAB - 1 - unit);
    return at_or_below != 0 ? 31u - (unsigned)__builtin_clz(at_or_below) : HK_UNITS_PER_SUPERSLAB;
}

/* Take a run of `units` (1..32) whose first unit is a multiple of `align_units` (a power of two) within its SuperSlab.
 * The slab map is written by the taker (superslab_set_code) before a block is handed out. Takes the superslab lock. */
HK_HIDDEN struct superslab_run superslab_take(unsigned units, unsigned align_units, unsigned class_idx);

/* Make a run in use `units` long, more than it is, if the units behind it in its SuperSlab are free; they may hold old data.
 * False: they are not. */
HK_HIDDEN bool superslab_extend(struct slab *slab, unsigned units);

/* Give a run back: its units become free and dirty, their map entries HK_CODE_NONE. */
HK_HIDDEN void superslab_give(struct slab *slab);

/* The same for a run whose pages have gone elsewhere: it reads as zeros. */
HK_HIDDEN void superslab_give_clean(struct slab *slab);

/* Enter a run's units in the slab map. */
HK_HIDDEN void superslab_set_code(const struct slab *slab, unsigned code);

/* The run that holds `ptr`, or NULL if ptr lies outside the region, in an unmapped SuperSlab or in a free unit. Any ptr. */
HK_HIDDEN struct slab *superslab_find(const void *ptr);

/* Purge dirty units that have been free for `age_ms` or longer until at most `keep` bytes of them are left, and give empty
 * SuperSlabs back. Returns bytes purged. */
HK_HIDDEN size_t superslab_purge(uint64_t now_ms, uint64_t age_ms, size_t keep);

/* Give back all empty SuperSlabs but one, and with region_shrink() the addresses that none uses. */
HK_HIDDEN bool superslab_shrink_region(void);

/* Bytes of free dirty units. */
static inline size_t superslab_dirty_bytes(void)
{
    return (size_t)atomic_load_relaxed(&hk_account.capacity.units_free_dirty) << HK_UNIT_SHIFT;
}

HK_HIDDEN void superslab_before_fork(void);
HK_HIDDEN void superslab_after_fork(bool child, bool raw_child);

#endif
