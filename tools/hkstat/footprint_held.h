/* footprint_held.h - the blocks that thread caches and the quarantine hold: for footprint.c and footprint_slab.c alone. */
#ifndef HKSTAT_FOOTPRINT_HELD_H
#define HKSTAT_FOOTPRINT_HELD_H

#include "footprint.h"

#define HELD_QUARANTINE UINT32_MAX

struct held {
    uint64_t block;
    uint32_t by; /* index in footprint->threads, or HELD_QUARANTINE */
};

struct held_blocks {
    struct held *list; /* in order of address */
    size_t count;
    size_t most;     /* that there can be in the memory that there is */
    uint64_t secret; /* the process's */
};

/* Follow every thread's lists. Enters the threads in the footprint. */
void held_read(const struct address_space *space, const struct hk_layout *layout, struct footprint *footprint,
               struct held_blocks *held);

/* The entry of a block, NULL: it is in no thread's cache and not in the quarantine. */
const struct held *held_find(const struct held_blocks *held, uint64_t block);

/* Whether the two words of a block are those of one in a free list of this process. */
bool held_is_listed(const struct held_blocks *held, const uint64_t words[2]);

#endif
