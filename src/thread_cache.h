/* thread_cache.h - the slow paths of malloc and free for blocks of cached classes: what fills a thread's bins (bin.h), drains
 * them, and counts what went through them. */
#ifndef HK_THREAD_CACHE_H
#define HK_THREAD_CACHE_H

#include "account.h"
#include "base.h"
#include "bin.h"

/* The slow path of malloc for sizes up to HK_CACHED_MAX: budget or blocks have run out, or the first block's words don't agree,
 * which is misuse. NULL with ENOMEM. */
HK_HIDDEN void *cache_alloc_slow(size_t size);

/* A block for `size` bytes straight from the class's slabs, counted as a miss. NULL with ENOMEM. */
HK_HIDDEN void *cache_alloc_uncached(unsigned class_idx, size_t size);

/* The slow path of free for a block of a cached class: no room, or a block from legacy. `block` passed the checks. */
HK_HIDDEN void cache_free_slow(unsigned class_idx, void *block);

/* The free of a block from a slab of sampled ones. */
HK_HIDDEN void cache_free_sampled(unsigned class_idx, void *block);

/* The free of a guarded block; caller: a return address on the stack, where its trace begins. */
struct guard_slot;
HK_HIDDEN void cache_free_guarded(struct guard_slot *slot, void *block, const void *caller);

/* Once, from heap_init(). */
HK_HIDDEN void cache_init(void);

/* Add what the calling thread's counters tell to the account, so that it is exact for this thread. */
HK_HIDDEN void cache_settle_all(void);

/* Give everything that the calling thread's cache holds to the slabs. */
HK_HIDDEN void cache_drain_all(enum hk_drain_reason reason);

/* At a thread's end: the same, and what it claimed is free for others. The thread has a cache. */
HK_HIDDEN void cache_end(void);

/* The same of a thread that ended without a word: what its lists held is lost. */
struct hk_thread;
HK_HIDDEN void cache_forgo(struct hk_thread *thread);

/* In a child of fork: the other threads' shares of what caches may hold are free. */
HK_HIDDEN void cache_after_fork(void);

/* Blocks of the class in the calling thread's cache. */
HK_HIDDEN uint32_t cache_length(unsigned class_idx);

#endif
