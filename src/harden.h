/* harden.h - hardened mode (HAKMEM_CONF=harden:1): what the heap does otherwise in it. src/DESIGN.md tells the whole.
 *
 *   free memory reads as zeros, but for the words of the blocks in quarantine
 *
 * No thread gets a cache, and region_reach stays 0: so every call takes the slow paths, and the fast ones know nothing of it. */
#ifndef HK_HARDEN_H
#define HK_HARDEN_H

#include "base.h"
#include "config.h"
#include "misuse.h"

/* Once the configuration was read. */
static inline bool harden_is_on(void)
{
    return hk_unlikely(hk_config.harden != 0);
}

/* A free block of a cached class becomes one of `size` bytes; aborts when it was written to. Returns it. */
HK_HIDDEN void *harden_hand_out(unsigned class_idx, void *block, size_t size);

/* Free a block of a cached class, which is the program's to free but for what its canary says. */
HK_HIDDEN void harden_take_back(unsigned class_idx, void *block);

/* The bytes that were asked for when the live block at ptr was allocated or resized; aborts, as `twice` if the block is free, as an
 * overflow if its canary was written to. */
HK_HIDDEN size_t harden_size(const void *ptr, size_t block_size, enum misuse_kind twice);

#endif
