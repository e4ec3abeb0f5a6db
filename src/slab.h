/* slab.h - a slab: a run of units with blocks of one class, its free blocks told by a bitmap out of line.
 *
 *   nfree = number of ones in bits[0..blocks)        in use or cached = blocks - nfree
 *   block i lies in unit u = i / per_unit, at base + u * 64 KiB + (i - u * per_unit) * size
 *
 * Nothing here takes a lock: a slab belongs to its class's pool, whose lock the caller holds. */
#ifndef HK_SLAB_H
#define HK_SLAB_H

#include "base.h"
#include "chain.h"
#include "size_class.h"

#define HK_SLAB_BITMAP_WORDS (HK_UNIT_SIZE / HK_ALIGNMENT / 64) /* 64 words: 512 bytes */

struct slab {
    uint8_t *base;            /* const: while the run is in use; NULL when it is not */
    uint64_t *bits;           /* const: 1 is free */
    struct slab *next, *prev; /* lock: class; in its pool's list, or ACE's */
    uint16_t units;           /* const: while in use */
    uint16_t class_idx;       /* const: while in use */
    uint16_t blocks;          /* const: while in use */
    uint16_t per_unit;        /* const: while in use; blocks in a unit */
    uint16_t nfree;           /* lock: class */
    uint16_t hint;            /* lock: class; no word of bits below it has a one */
    uint8_t list;             /* lock: class; which list of the pool it is in */
    bool in_use;              /* lock: class; large runs: the block is the program's */
    bool sampled;         /* const: while a slab is in use, all its blocks are; large runs: owner of the block: it is */
    uint16_t epoch;       /* lock: class; its pool's, which listed it */
    uint64_t dirty_pages; /* lock: class; bit p: page p may be resident */
    uint64_t stamp_ms;    /* lock: class; when it last lost or got a block */
    size_t size; /* lock: class; large runs: bytes that the block has; in a sparse slab: free bytes, as counted */
};

/* Make an empty slab of `class_idx`: every block free. */
HK_HIDDEN void slab_open(struct slab *slab, unsigned class_idx, bool dirty);

/* Take up to `want` blocks, lowest address first, linked in front of `chain`'s blocks. Returns how many. */
HK_HIDDEN uint32_t slab_take(struct slab *slab, uint32_t want, struct hk_chain *chain);

/* Take one block that `chance`, 64 random bits, chooses; nothing is written to it. NULL: none is free. */
HK_HIDDEN void *slab_take_any(struct slab *slab, uint64_t chance);

enum slab_give_result { SLAB_GIVEN, SLAB_INTERIOR, SLAB_DOUBLE };

/* Make count and hint anew from the bitmap, where a thread that is not in this process was caught in between. */
HK_HIDDEN void slab_recount(struct slab *slab);

/* Put one block back. */
HK_HIDDEN enum slab_give_result slab_give(struct slab *slab, void *block);

/* Whether ptr is the start of a block of this slab. */
HK_HIDDEN bool slab_is_block(const struct slab *slab, const void *ptr);

/* Whether the block is free in the bitmap. ptr: a block's start. */
HK_HIDDEN bool slab_block_is_free(const struct slab *slab, const void *ptr);

/* Purge the pages on which no block is in use or cached. Returns bytes purged. */
HK_HIDDEN size_t slab_purge(struct slab *slab);

#endif
