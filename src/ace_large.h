/* ace_large.h - ACE's pools: blocks of 36 KiB to 2 MiB, each a run of units of a SuperSlab.
 *
 * A run that is freed waits, hottest first, in its class's pool up to the cap; beyond it the coldest go back to
 * their SuperSlabs. A block has its class's size, so growth moves it to another class, of longer runs or huge: a free of
 * the one, an allocation of the other. For each large class, with its lock held:
 *
 *   account.cached_blocks = count = length of the list <= cap        account.slabs = live blocks + count */
#ifndef HK_ACE_LARGE_H
#define HK_ACE_LARGE_H

#include "base.h"

/* Bytes of runs that wait, never less than the truth: raised as pools fill, corrected at a window's end and by
 * decay, so that a pool in steady use touches no line that other classes share. any: */
extern HK_HIDDEN uint64_t ace_large_posted;

/* A block of a large class at a multiple of align (a power of two, a SuperSlab at most). NULL: Exhaustion, with
 * *error the errno of the kernel, 0 when it was not asked. */
HK_HIDDEN void *ace_large_alloc(unsigned class_idx, size_t size, size_t align, bool zero, int *error);

/* Give back what has waited for age_ms or longer. Returns bytes. */
HK_HIDDEN size_t ace_large_decay(uint64_t now_ms, uint64_t age_ms);

/* Give the colder halves of the pools back, greatest blocks first, until all hold `keep` bytes at most. Returns
 * bytes. */
HK_HIDDEN size_t ace_large_trim(size_t keep);

HK_HIDDEN size_t ace_large_cached_bytes(void);

HK_HIDDEN void ace_large_init(void);
HK_HIDDEN void ace_large_before_fork(void);
/* raw: in the child of a raw clone, where ace_large_before_fork() was not called. The lists are abandoned. */
HK_HIDDEN void ace_large_after_fork(bool raw);

#endif
