/* quarantine.h - hardened mode: blocks of cached classes that were freed wait here, wiped, before their slabs get them back.
 *
 *   shard.bytes = sum of the sizes of the blocks in its slots <= QUARANTINE_BYTES / QUARANTINE_SHARDS
 *
 * A block comes to a random slot of a random shard, and what lay there goes to its slab: how long a block waits, nobody can tell.
 * For the account and for a slab's bitmap it is what a block in a cache is: free, and not in its slab. */
#ifndef HK_QUARANTINE_H
#define HK_QUARANTINE_H

#include "base.h"
#include "lock.h"
#include "size_class.h"

#define QUARANTINE_SHARDS 16u
#define QUARANTINE_SLOTS 64u /* of a shard */
#define QUARANTINE_BYTES ((size_t)1 << 20)

#define QUARANTINE_CLASS_SHIFT 48u /* an entry is the block's address and, above it, its class; 0: the slot is empty */

struct quarantine_shard {
    struct hk_lock lock;
    size_t bytes;                     /* lock: */
    uint64_t slots[QUARANTINE_SLOTS]; /* lock: entries */
} __attribute__((aligned(HK_CACHE_LINE)));
extern HK_HIDDEN struct quarantine_shard quarantine_shards[QUARANTINE_SHARDS];

/* Take a block that was wiped (canary.h). What goes to its slab meanwhile is looked at: write-after-free aborts. */
HK_HIDDEN void quarantine_put(unsigned class_idx, void *block);

/* All blocks to their slabs, each looked at: at exit, for malloc_trim, and where memory is refused. The caller holds no lock. */
HK_HIDDEN void quarantine_flush(void);

/* Whether the block waits here. For the way to an abort. */
HK_HIDDEN bool quarantine_holds(const void *block);

/* How many blocks of each class wait. */
HK_HIDDEN void quarantine_count(uint32_t blocks[HK_CACHED_CLASSES]);

HK_HIDDEN void quarantine_before_fork(void);
HK_HIDDEN void quarantine_after_fork(bool raw_child);

#endif
