/* footprint_slab.h - what the resident pages of one slab are used for: for footprint.c alone. */
#ifndef HKSTAT_FOOTPRINT_SLAB_H
#define HKSTAT_FOOTPRINT_SLAB_H

#include "footprint_held.h"
#include "src/slab.h"

/* Add a slab of a cached class to the footprint. `bits` is its bitmap, of HK_SLAB_BITMAP_WORDS words. main_thread: the index of the main
 * thread in footprint->threads, UINT32_MAX for none. False: its fields can't be a slab's, and nothing was added. */
bool footprint_add_slab(const struct address_space *space, const struct slab *slab, const uint64_t *bits,
                        const struct held_blocks *held, uint32_t main_thread, struct footprint *footprint);

#endif
