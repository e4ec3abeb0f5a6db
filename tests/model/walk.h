/* walk.h - the invariants of all tiers, looked at from inside: for a program that the allocator's objects are linked into (MODEL_WALK).
 * Elsewhere nothing. */
#ifndef MODEL_WALK_H
#define MODEL_WALK_H

#ifdef MODEL_WALK
/* Look at every SuperSlab, slab, bitmap, map entry and sum; one that doesn't hold ends the program with a line. No other thread may
 * be in the allocator or have a cache. */
void walk(void);

/* Make one of them false, the `which`-th: for the test of the test. */
void walk_spoil(unsigned long which);
#else
static inline void walk(void)
{
}

static inline void walk_spoil(unsigned long which)
{
    (void)which;
}
#endif

#endif
