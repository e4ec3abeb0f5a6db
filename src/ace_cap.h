/* ace_cap.h - how many free blocks of a class may wait in ACE: a cap that follows demand. Pure arithmetic, no lock,
 * no clock.
 *
 * A window is ACE_WINDOW requests, with rate = 100 * (requests - misses) / requests. An epoch is ACE_EPOCH windows,
 * longer than the greatest burst that a cap allows for; peak is the most and low the fewest blocks that waited
 * during it, so that low of them were of no use. At each window's end, toward `target` per cent:
 *
 *   rate < target                cap' = min(most, cap + cap / 2 + 1)
 *   else, the epoch ends too     cap' = peak - (low + 1) / 2            (peak <= cap, so cap' <= cap)
 *   else                         cap' = cap */
#ifndef HK_ACE_CAP_H
#define HK_ACE_CAP_H

#include "base.h"

#define ACE_WINDOW 64u
#define ACE_EPOCH 8u
#define ACE_CAP_START 4u                /* of a class of which nothing is known yet */
#define ACE_CAP_BYTES ((size_t)8 << 20) /* one class keeps no more than this, but ACE_CAP_START blocks in any case */

struct ace_cap {
    uint32_t cap;      /* lock: class; blocks that may wait */
    uint16_t requests; /* lock: class; of the window so far */
    uint16_t misses;   /* lock: class; of the window so far */
    uint32_t windows;  /* lock: class; of the epoch so far */
    uint32_t low;      /* lock: class; of the epoch so far */
    uint32_t peak;     /* lock: class; of the epoch so far */
};

struct ace_cap_move {
    uint32_t from, to;
    uint32_t hit_rate; /* of the window, in per cent */
};

/* The greatest cap for blocks of block_bytes (1 or more). */
HK_HIDDEN uint32_t ace_cap_most(size_t block_bytes);

HK_HIDDEN void ace_cap_init(struct ace_cap *cap);

/* The window's end: from != to when the cap has moved. Begins the next one; `waiting` blocks wait now, of which the
 * caller gives back what exceeds the cap. */
HK_HIDDEN struct ace_cap_move ace_cap_adapt(struct ace_cap *cap, uint32_t waiting, uint32_t most, uint32_t target);

/* A request was served from the pool, where `waiting` are left. True: the window is full, ace_cap_adapt() is due. */
static inline bool ace_cap_hit(struct ace_cap *cap, uint32_t waiting)
{
    if (waiting < cap->low)
        cap->low = waiting;
    return ++cap->requests >= ACE_WINDOW;
}

/* A request found nothing. */
static inline bool ace_cap_miss(struct ace_cap *cap)
{
    cap->low = 0;
    cap->misses++;
    return ++cap->requests >= ACE_WINDOW;
}

/* A block came, and `waiting` wait now. */
static inline void ace_cap_put(struct ace_cap *cap, uint32_t waiting)
{
    if (waiting > cap->peak)
        cap->peak = waiting;
}

/* Blocks went back for their age, and `waiting` are left. */
static inline void ace_cap_drop(struct ace_cap *cap, uint32_t waiting)
{
    if (waiting < cap->low)
        cap->low = waiting;
}

#endif
