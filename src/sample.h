/* sample.h - when a class's next sampled allocation is due, in each of the kinds of sampling that may be on.
 *
 * An allocation is sampled with the same probability whatever came before it, so the number from one to the next is geometric:
 * it is drawn once and counted down by the slow paths, which give a class no budget beyond it. The fast path knows nothing of it. */
#ifndef HK_SAMPLE_H
#define HK_SAMPLE_H

#include "base.h"

enum sample_kind { SAMPLE_GUARD, SAMPLE_HEAP, SAMPLE_KINDS };

struct sample_clock {
    uint32_t
        left[SAMPLE_KINDS]; /* owner: allocations until the next sampled one, that one included; 0: none is drawn */
};

/* Whether any allocation is being waited for. */
static inline bool sample_is_running(const struct sample_clock *clock)
{
    uint32_t any = 0;
    for (unsigned kind = 0; kind < SAMPLE_KINDS; kind++)
        any |= clock->left[kind];
    return any != 0;
}

/* `allocs` passed by on the fast path: fewer than are left of any kind. */
HK_HIDDEN void sample_pass(struct sample_clock *clock, uint32_t allocs);

/* One allocation on the slow path. Whether it is due to be sampled; the next is then to be drawn. */
HK_HIDDEN bool sample_take(struct sample_clock *clock, enum sample_kind kind);

/* Forget what was drawn. */
static inline void sample_stop(struct sample_clock *clock, enum sample_kind kind)
{
    clock->left[kind] = 0;
}

/* The probability that an allocation of `bytes` is taken by a Poisson process over bytes with one sample in `mean` bytes:
 * 1 - exp(-bytes / mean), to nine digits. mean: 1 or more. */
HK_HIDDEN double sample_probability(size_t bytes, double mean);

/* True with that probability. */
HK_HIDDEN bool sample_happens(double probability, uint64_t *random);

/* Draw the next: the mean number of allocations from one to the next is `mean`, 1 or more. random: the thread's state,
 * 0 at first. */
HK_HIDDEN void sample_draw(struct sample_clock *clock, enum sample_kind kind, double mean, uint64_t *random);

/* The greatest budget, up to `budget`, after which the allocation that is due next comes to the slow path. */
HK_HIDDEN uint32_t sample_bound(const struct sample_clock *clock, uint32_t budget);

#endif
