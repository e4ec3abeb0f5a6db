/* ace.h - ACE, the Adaptive Cache Engine: everything above HK_CACHED_MAX (32 KiB).
 *
 * large  (to 2 MiB)    a block is a run of units of a SuperSlab; freed runs wait in their class's pool
 * huge   (above)       a block is a mapping of its own, outside the region; freed mappings wait in one cache
 *
 * A pool's cap moves with demand toward hk_config.ace_hit_rate (ace_cap.h, probe ace_adapt); so do the caps of the
 * mid classes' chains in the shared pool. What a cache can't serve is one of three failures:
 *   Threshold   no class within the allowed waste (size beyond ace_limit, or alignment beyond 2 MiB): mapped directly
 *   Exhaustion  the pool is empty and no SuperSlab can be had: served as a huge block
 *   MapFail     the kernel refused: caches are purged, tried once more, then NULL with ENOMEM */
#ifndef HK_ACE_H
#define HK_ACE_H

#include "account.h"
#include "base.h"
#include "slab.h"

/* A block of at least size bytes (0..PTRDIFF_MAX; one of HK_CACHED_MAX or less is served as one byte more than that)
 * at a multiple of align, a power of two, PTRDIFF_MAX at most. zero: all of the block reads zero. NULL with ENOMEM,
 * once MapFail has been told. errno kept otherwise. */
HK_HIDDEN void *ace_alloc(size_t size, size_t align, bool zero);

/* In hardened mode a block has a canary, which its free looks at: an overflow aborts. What is freed gives its pages back at once;
 * its addresses wait as always, but are not taken from the pools again, and huge ones are unreadable meanwhile. */

/* A large run, found by the caller in the SuperSlab. False: ptr is not the start of a live block of it. */
HK_HIDDEN bool ace_free_large(struct slab *run, void *ptr);

/* A huge block: owner is what the outer map told. False: ptr is not the start of a live block. */
HK_HIDDEN bool ace_free_huge(void *owner, void *ptr);

/* Block size in bytes; 0 if ptr is not the start of a live block. */
HK_HIDDEN size_t ace_usable_large(const struct slab *run, const void *ptr);
HK_HIDDEN size_t ace_usable_huge(const void *owner, const void *ptr);

/* Whether a profiler was told of the block; its owner's to change. */
HK_HIDDEN bool *ace_huge_sampled(void *owner);

/* Resize without copying: where the block lies, or unless in_place by moving its pages, to a multiple of align; a large run
 * that moves becomes a huge block. The new address, or NULL (nothing changed) when that can't be done or does not pay. */
HK_HIDDEN void *ace_resize_large(struct slab *run, void *ptr, size_t size, size_t align, bool in_place);
HK_HIDDEN void *ace_resize_huge(void *owner, void *ptr, size_t size, size_t align, bool in_place);

/* Give back what has waited for age_ms or longer. Returns bytes that left the caches. */
HK_HIDDEN size_t ace_decay(uint64_t now_ms, uint64_t age_ms);

/* Bytes that wait in the caches. */
HK_HIDDEN size_t ace_cached_bytes(void);

/* Tell a failure: account, probe ace_fail, and with HAKMEM_ACE_TRACE=1 a line. error: the kernel's errno, 0 if it was
 * not asked. errno kept. */
HK_HIDDEN HK_COLD void ace_fail(unsigned class_idx, size_t size, enum hk_ace_fail failure, int error);

/* The same for shared_fail -> legacy. */
HK_HIDDEN HK_COLD void ace_trace_shared_fail(unsigned class_idx, enum hk_shared_fail reason, int error);

HK_HIDDEN void ace_init(void);
HK_HIDDEN void ace_before_fork(void);

/* raw: in the child of a raw clone, where ace_before_fork() was not called: the lists are abandoned. */
HK_HIDDEN void ace_after_fork(bool raw);

#endif
