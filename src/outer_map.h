/* outer_map.h - whose a unit outside the region is: a two-level map over 48 bits of addresses, read without a lock.
 * Only the first unit of a huge block is entered, and every unit of a legacy chunk. */
#ifndef HK_OUTER_MAP_H
#define HK_OUTER_MAP_H

#include "base.h"

#define OUTER_LEVEL_BITS 16u
#define OUTER_LEVEL_SIZE (1u << OUTER_LEVEL_BITS)
#define OUTER_KIND_MASK ((uintptr_t)3)

/* For the units of 4 GiB. An entry is owner | kind, 0: not ours. */
struct outer_leaf {
    uintptr_t entries[OUTER_LEVEL_SIZE]; /* any */
};
extern HK_HIDDEN struct outer_leaf *outer_root[OUTER_LEVEL_SIZE]; /* any: NULL, then for ever what was published */

enum outer_kind { OUTER_NONE, OUTER_LEGACY, OUTER_HUGE };

struct outer_entry {
    enum outer_kind kind;
    void *owner; /* struct slab of a legacy chunk, struct huge of a huge block */
};

/* Enter `units` units from `ptr` (a multiple of the unit). False, with nothing entered, when memory for the map is
 * refused. owner: aligned to 4 at least. */
HK_HIDDEN bool outer_map_set(const void *ptr, unsigned units, enum outer_kind kind, void *owner);
HK_HIDDEN void outer_map_clear(const void *ptr, unsigned units);

/* Make sure that the unit at ptr can be entered without asking for memory, from now on for ever. False: memory is refused. */
HK_HIDDEN bool outer_map_reserve(const void *ptr);

/* Safe for any address whatever. */
HK_HIDDEN struct outer_entry outer_map_find(const void *ptr);

#endif
