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

/* How many samples there are in a second, over all threads, and how often their mean is doubled to keep that below a rate. It doubles
 * as soon as a window of a second has so many, and falls once half as many would not be exceeded. What it was is to be kept with each
 * draw: the weights stay right since the mean of a draw depends on the past alone. Threads may count past each other: an estimate. */
#define SAMPLE_DOUBLINGS_MOST 10u

struct sample_rate {
    uint64_t window_ms; /* atomic: when the window began */
    uint32_t samples;   /* atomic: since then */
    uint32_t doublings; /* atomic: 0 to SAMPLE_DOUBLINGS_MOST */
};

/* now_ms: of os_now_ms(); most: samples a second, 0: any number, and the mean is never doubled. */
HK_HIDDEN uint32_t sample_rate_doublings(struct sample_rate *rate, uint64_t now_ms, uint64_t most);
HK_HIDDEN void sample_rate_count(struct sample_rate *rate, uint64_t now_ms, uint64_t most);

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
