/* layout.h - what a reader from outside must know to follow the allocator's tables: where they begin, and that it was built of the same
 * structs. No code of the process runs for it. */
#ifndef HK_LAYOUT_H
#define HK_LAYOUT_H

#include "account.h"
#include "ace_huge_cache.h"
#include "bin.h"
#include "failures.h"
#include "guard_fault.h"
#include "meta.h"
#include "outer_map.h"
#include "quarantine.h"
#include "superslab.h"
#include "thread.h"

#define HK_LAYOUT_VERSION 1u

/* Of what a reader relies on: sizes, offsets and numbers of classes. FNV-1a, 64 bits (G. Fowler, L. C. Noll, K.-P. Vo). */
static inline uint64_t layout_digest(void)
{
    static const uint64_t facts[] = {
        HK_LAYOUT_VERSION,
        HK_ACCOUNT_VERSION,
        sizeof(struct hk_process_account),
        HK_CACHED_CLASSES,
        HK_SIZED_CLASSES,
        HK_UNIT_SIZE,
        HK_SUPERSLAB_SIZE,
        HK_MARK,
        sizeof(struct hk_tls),
        sizeof(struct hk_thread),
        offsetof(struct hk_thread, tls),
        offsetof(struct hk_thread, next),
        offsetof(struct hk_thread, tid),
        offsetof(struct hk_thread, classes),
        sizeof(struct cache_class),
        offsetof(struct cache_class, clock),
        offsetof(struct cache_class, sample),
        SAMPLE_HEAP,
        sizeof(struct superslab),
        offsetof(struct superslab, free_units),
        offsetof(struct superslab, dirty_units),
        offsetof(struct superslab, run_units),
        offsetof(struct superslab, runs),
        offsetof(struct superslab, bits),
        sizeof(struct slab),
        offsetof(struct slab, bits),
        offsetof(struct slab, units),
        offsetof(struct slab, class_idx),
        offsetof(struct slab, blocks),
        offsetof(struct slab, per_unit),
        offsetof(struct slab, in_use),
        offsetof(struct slab, size),
        sizeof(struct huge),
        offsetof(struct huge, size),
        offsetof(struct huge, mapped),
        offsetof(struct huge, in_use),
        sizeof(struct outer_leaf),
        OUTER_LEVEL_SIZE,
        OUTER_LEGACY,
        OUTER_HUGE,
        sizeof(struct meta_chunk),
        sizeof(struct guard_slot),
        offsetof(struct guard_slot, block),
        offsetof(struct guard_slot, size),
        GUARD_UNITS,
        GUARD_LIVE,
        sizeof(struct quarantine_shard),
        offsetof(struct quarantine_shard, slots),
        QUARANTINE_SHARDS,
        QUARANTINE_SLOTS,
        HK_RECORDER_VERSION,
        sizeof(struct hk_recorder),
    };
    uint64_t digest = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
        for (unsigned shift = 0; shift < 64; shift += 8)
            digest = (digest ^ (facts[i] >> shift & 0xff)) * UINT64_C(0x100000001b3);
    return digest;
}

/* Fill hk_account.layout: once, from heap_init(), when all else is there. */
HK_HIDDEN void layout_init(void);

#endif
