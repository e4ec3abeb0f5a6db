/* shared_pool.h - per cached class, for all threads: chains of blocks that caches drained, and the slabs of the class.
 *
 * A chain is a list of blocks linked as in a thread cache, with its count; it passes whole from a cache to a cache and no
 * block of it is touched. At most POOL_CHAINS wait; the oldest beyond that, or past its decay, is taken apart into its slabs'
 * bitmaps, where each block is checked. In a slab's bitmap a block of a chain counts as in use. */
#ifndef HK_SHARED_POOL_H
#define HK_SHARED_POOL_H

#include "account.h"
#include "base.h"
#include "chain.h"
#include "slab.h"

struct pool_refill {
    struct hk_chain chain;
    enum hk_server server;
};

/* Some blocks of a cached class: `want` at most, or a whole chain of at most `most`. The chain is empty, with errno ENOMEM,
 * when every tier down to legacy was refused. In hardened mode one random block, which nothing was written to. */
HK_HIDDEN struct pool_refill shared_pool_refill(unsigned class_idx, uint32_t want, uint32_t most);

/* Cut the first `count` blocks (1 or more, but not all) of a chain off: they are *front. False: a link is corrupt, and
 * front->head is the block that was overwritten. */
HK_HIDDEN bool shared_pool_cut(unsigned class_idx, struct hk_chain *chain, uint32_t count, struct hk_chain *front);

/* Whether a look into the lists for a marked block is worth while. False now and then where many such looks were in vain: a second
 * free is then found when the list is drained. */
HK_HIDDEN bool shared_pool_seems_free(unsigned class_idx, const void *block);

/* A block of a slab whose blocks are all sampled: free() finds no bin for it, and takes the slow path. Marked; NULL when memory is
 * refused. errno kept. */
HK_HIDDEN void *shared_pool_take_sampled(unsigned class_idx);

/* Whether `block` lies in the list that begins at head, which the list's owner may change meanwhile; in a chain. */
HK_HIDDEN bool shared_pool_list_holds(unsigned class_idx, const void *head, const void *block);
HK_HIDDEN bool shared_pool_chains_hold(unsigned class_idx, const void *block);

/* Take a chain from a cache. `apart`: into the slabs at once (trim, idle, fork), else kept for a refill. */
HK_HIDDEN void shared_pool_drain(unsigned class_idx, struct hk_chain chain, bool apart);

/* Hardened mode: one block, unmarked, into its slab; takes the class's lock. Any result but SLAB_GIVEN: nothing changed. */
HK_HIDDEN enum slab_give_result shared_pool_put(unsigned class_idx, void *block);

/* Take chains apart that are older than age_ms, purge sparse slabs. Returns bytes purged. */
HK_HIDDEN size_t shared_pool_decay(uint64_t now_ms, uint64_t age_ms);

/* any: bytes of the free blocks of sparse slabs (less than half in use) that were not purged since they changed. */
extern HK_HIDDEN uint64_t shared_pool_sparse;

/* Purge all sparse slabs now. Returns bytes. */
HK_HIDDEN size_t shared_pool_purge(uint64_t now_ms);

/* Free blocks of the class, in slabs and in chains. */
HK_HIDDEN uint64_t shared_pool_free_blocks(unsigned class_idx);

HK_HIDDEN void shared_pool_init(void);
HK_HIDDEN void shared_pool_before_fork(void);
HK_HIDDEN void shared_pool_after_fork(bool raw_child);

#endif
