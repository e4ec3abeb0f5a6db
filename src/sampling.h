/* sampling.h - which allocations of a thread are guarded or told to a heap profiler, and how they are served. The idle cost is a look
 * at what is switched on at each exit of a slow path.
 *
 * Heap profiles: a block of S bytes is taken with p = 1 - exp(-S / mean), whatever came before it, so that the requests divided by
 * their p add up to what was requested, without bias. The mean is hk_config.sample, doubled while there are more samples a second than
 * hk_config.sample_rate: each costs the process up to 30 us. A sampled block of a cached class lies in a slab of such blocks,
 * larger ones are marked in their descriptor: free() needs no test for them. */
#ifndef HK_SAMPLING_H
#define HK_SAMPLING_H

#include "../probes/probe.h"
#include "base.h"
#include "guard.h"
#include "thread.h"

static inline bool sampling_is_on(void)
{
    return hk_unlikely(guard_mean() != 0 || HK_PROBE_ON(sample_alloc));
}

/* The budget that the class may have, up to its clock: what is due next comes to the slow path. Draws what is to be waited for. */
HK_HIDDEN uint32_t sampling_bound(struct hk_thread *thread, unsigned class_idx);

/* A block for an allocation on the slow path that is due to be sampled; NULL when it is not, or can't be had. caller: a return address
 * on the stack. */
HK_HIDDEN void *sampling_take(struct hk_thread *thread, unsigned class_idx, size_t size, const void *caller);

/* A block that ACE served: whether it is to be told, which it then is. size: asked for; block_size: it has. */
HK_HIDDEN bool sampling_tells_large(const void *block, size_t size, size_t block_size);

/* Such a block was resized where it lies, from old_size bytes, and was told of or not: whether it now is. It is told anew as often
 * as the bytes between the two sizes would be sampled, a large one after an eighth of its size. */
HK_HIDDEN bool sampling_tells_resized(const void *block, size_t size, size_t block_size, size_t old_size, bool told);

#endif
