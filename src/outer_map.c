/* outer_map.c - the two-level map of what lies outside the region.
 *
 *   address   47..32: index in the root     31..16: index in a leaf     15..0: within the unit
 *   entry     owner | kind                  0: not ours
 *
 * The root lies in .bss, where only the pages that are used cost memory; a leaf speaks of 4 GiB and is never given back. */
#include "outer_map.h"

#include <errno.h>

#include "os.h"

_Static_assert(HK_UNIT_SHIFT + 2 * OUTER_LEVEL_BITS == 48, "the two levels cover 48 bits of address");
_Static_assert(OUTER_HUGE <= OUTER_KIND_MASK, "a kind fits beside the owner");

struct outer_leaf *outer_root[OUTER_LEVEL_SIZE];

static struct outer_leaf *find_leaf(uintptr_t unit)
{
    if (unit >> (2 * OUTER_LEVEL_BITS) != 0)
        return NULL;
    return atomic_load_acquire(&outer_root[unit >> OUTER_LEVEL_BITS]); /* pairs with make_leaf() */
}

static bool make_leaf(uintptr_t unit)
{
    if (unit >> (2 * OUTER_LEVEL_BITS) != 0) {
        errno = ENOMEM;
        return false;
    }
    if (find_leaf(unit) != NULL)
        return true;
    struct outer_leaf *leaf = os_map(sizeof *leaf, HK_UNIT_SIZE, OS_META), *expected = NULL;
    if (leaf == NULL)
        return false;
    /* Where another thread was first, and the kernel refuses the unmap: its pages were never touched. */
    if (!atomic_cas_acq_rel(&outer_root[unit >> OUTER_LEVEL_BITS], &expected, leaf))
        os_unmap(leaf, sizeof *leaf, OS_META);
    return true;
}

static void store(uintptr_t first, unsigned units, uintptr_t entry)
{
    for (uintptr_t unit = first; unit < first + units; unit++) {
        struct outer_leaf *leaf = find_leaf(unit);
        if (leaf != NULL)
            atomic_store_release(&leaf->entries[unit % OUTER_LEVEL_SIZE], entry); /* pairs with outer_map_find() */
    }
}

bool outer_map_reserve(const void *ptr)
{
    return make_leaf((uintptr_t)ptr >> HK_UNIT_SHIFT);
}

bool outer_map_set(const void *ptr, unsigned units, enum outer_kind kind, void *owner)
{
    if (units == 0)
        return true;
    uintptr_t first = (uintptr_t)ptr >> HK_UNIT_SHIFT, last = first + units - 1;
    for (uintptr_t unit = first; unit <= last; unit = (unit | (OUTER_LEVEL_SIZE - 1)) + 1) {
        if (!make_leaf(unit))
            return false;
    }
    store(first, units, (uintptr_t)owner | (uintptr_t)kind);
    return true;
}

void outer_map_clear(const void *ptr, unsigned units)
{
    store((uintptr_t)ptr >> HK_UNIT_SHIFT, units, 0);
}

struct outer_entry outer_map_find(const void *ptr)
{
    uintptr_t unit = (uintptr_t)ptr >> HK_UNIT_SHIFT;
    struct outer_leaf *leaf = find_leaf(unit);
    uintptr_t entry =
        leaf == NULL ? 0 : atomic_load_acquire(&leaf->entries[unit % OUTER_LEVEL_SIZE]); /* pairs with store() */
    return (struct outer_entry){(enum outer_kind)(entry & OUTER_KIND_MASK), (void *)(entry & ~OUTER_KIND_MASK)};
}
