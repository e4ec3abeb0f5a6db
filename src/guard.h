/* guard.h - sampled allocations on pages of their own, between pages that nobody may touch: use after free, overflow and underflow
 * end in a fault, which is told with the stacks of allocation, free and access. For requests of 1 byte to HK_CACHED_MAX.
 *
 * A slot is one unit of a reservation outside the region; its lower half is the slot's data:
 *
 *   LIVE:   data <= from <= block,  block + size <= to <= data + HK_CACHED_MAX;   [from, to) are the pages that can be touched
 *   FREED:  none can, and the slot waits behind all others that were freed before it
 *
 * What of [from, to) is not the block's holds a pattern that is looked at when the block is freed. */
#ifndef HK_GUARD_H
#define HK_GUARD_H

#include "../probes/probe.h"
#include "base.h"
#include "config.h"
#include "misuse.h"
#include "trace.h"

#define GUARD_DEFAULT_MEAN \
    4096u /* allocations of a thread's class from one to the next, when a tracer switched it on */

enum guard_state { GUARD_EMPTY, GUARD_BUSY, GUARD_LIVE, GUARD_FREED };

/* A slot's fields are its holder's, who made it GUARD_BUSY; read without a lock by what reports a fault. */
struct guard_slot {
    uint32_t state; /* any: enum guard_state */
    uint32_t class_idx;
    uint32_t size; /* bytes that were asked for */
    char *block;   /* what malloc returned */
    struct trace allocated, freed;
};

/* Mean number of allocations from one guarded to the next, 0: off. By configuration, or as long as the probe is watched. */
static inline uint64_t guard_mean(void)
{
    return hk_unlikely(hk_config.guard != 0) ? hk_config.guard : HK_PROBE_ON(guard_alloc) ? GUARD_DEFAULT_MEAN : 0;
}

/* A guarded block, aligned as the class's blocks are when size is the class's; NULL when it may not be now (at most 20 a
 * second; all slots in use; memory refused). caller: a return address on the stack, where its trace begins. errno kept. */
HK_HIDDEN void *guard_alloc(unsigned class_idx, size_t size, const void *caller);

/* The slot that ptr points into or behind, NULL outside the reservation. Any ptr. */
HK_HIDDEN struct guard_slot *guard_find(const void *ptr);

/* The size of the live block that starts at ptr, 0 when none does. */
HK_HIDDEN size_t guard_size(const struct guard_slot *slot, const void *ptr);

/* The same; aborts with the kind that fits when none does. */
HK_HIDDEN size_t guard_live_size(struct guard_slot *slot, const void *ptr, enum misuse_kind twice,
                                 enum misuse_kind interior, enum misuse_kind foreign);

/* Free the live block at ptr; aborts where there is none, or when memory around it was written to. Returns its class. */
HK_HIDDEN unsigned guard_free(struct guard_slot *slot, void *ptr, const void *caller);

/* Live guarded blocks of the class. */
HK_HIDDEN uint32_t guard_live(unsigned class_idx);

HK_HIDDEN void guard_before_fork(void);
HK_HIDDEN void guard_after_fork(bool raw_child);

#endif
