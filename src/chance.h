/* chance.h - random numbers for hardened mode: cheap, seeded from the kernel. Who sees many of them can tell the next ones. */
#ifndef HK_CHANCE_H
#define HK_CHANCE_H

#include "base.h"

/* 64 random bits from the calling thread's own generator, which is seeded at its first call. */
HK_HIDDEN uint64_t chance_next(void);

/* In a child of fork, so that it does not draw what its parent draws. */
HK_HIDDEN void chance_after_fork(void);

#endif
