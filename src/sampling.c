#include "sampling.h"

#include "config.h"
#include "os.h"
#include "shared_pool.h"

#define REFUSED_FACTOR 16.0 /* so much further off is the next guarded block when one was not to be had */

static struct sample_rate rate; /* any: of what heap profilers are told */

/* For a sample that is drawn now: how often the mean is doubled. */
static uint32_t doublings_in_force(void)
{
    return sample_rate_doublings(&rate, os_now_ms(), hk_config.sample_rate);
}

static double probability_of(size_t block_size, uint32_t doublings)
{
    return sample_probability(block_size, (double)(hk_config.sample << doublings));
}

static void draw_for_heap(struct hk_thread *thread, struct cache_class *cache, unsigned class_idx)
{
    cache->doublings = doublings_in_force();
    sample_draw(&cache->sample, SAMPLE_HEAP, 1 / probability_of(hk_class_size[class_idx], cache->doublings),
                &thread->random);
}

static void tell(const void *block, size_t size, double probability)
{
    sample_rate_count(&rate, os_now_ms(), hk_config.sample_rate);
    HK_PROBE_FIRE(sample_alloc, block, size, (uint64_t)((double)size / probability + 0.5));
}

uint32_t sampling_bound(struct hk_thread *thread, unsigned class_idx)
{
    struct cache_class *cache = &thread->classes[class_idx];
    uint64_t mean = guard_mean();
    if (mean == 0)
        sample_stop(&cache->sample, SAMPLE_GUARD);
    else if (cache->sample.left[SAMPLE_GUARD] == 0)
        sample_draw(&cache->sample, SAMPLE_GUARD, (double)mean, &thread->random);
    if (!HK_PROBE_ON(sample_alloc))
        sample_stop(&cache->sample, SAMPLE_HEAP);
    else if (cache->sample.left[SAMPLE_HEAP] == 0)
        draw_for_heap(thread, cache, class_idx);
    return sample_bound(&cache->sample, cache->clock);
}

static void *take_for_heap(struct hk_thread *thread, struct cache_class *cache, unsigned class_idx, size_t size)
{
    if (!sample_take(&cache->sample, SAMPLE_HEAP))
        return NULL;
    double probability = probability_of(hk_class_size[class_idx], cache->doublings); /* it was drawn with */
    draw_for_heap(thread, cache, class_idx);
    if (!HK_PROBE_ON(sample_alloc)) /* nobody listens any more */
        return NULL;
    void *block = shared_pool_take_sampled(class_idx);
    if (block == NULL)
        return NULL;
    hk_clear_mark(block);
    tell(block, size, probability);
    return block;
}

/* Where many are due, the next is far off: what may be guarded is soon used up. */
static void *take_guarded(struct hk_thread *thread, struct cache_class *cache, unsigned class_idx, size_t size,
                          const void *caller)
{
    if (!sample_take(&cache->sample, SAMPLE_GUARD) || guard_mean() == 0)
        return NULL;
    void *block = guard_alloc(class_idx, size, caller);
    if (block == NULL)
        sample_draw(&cache->sample, SAMPLE_GUARD, REFUSED_FACTOR * (double)guard_mean(), &thread->random);
    return block;
}

void *sampling_take(struct hk_thread *thread, unsigned class_idx, size_t size, const void *caller)
{
    struct cache_class *cache = &thread->classes[class_idx];
    void *block = take_for_heap(thread, cache, class_idx, size); /* first: a profile must not miss what is guarded */
    if (block == NULL)
        return take_guarded(thread, cache, class_idx, size, caller);
    sample_take(&cache->sample, SAMPLE_GUARD); /* if it was due too, the next is drawn */
    return block;
}

static bool happens(double probability)
{
    struct hk_thread *thread = thread_enter();
    uint64_t once = 0;
    return sample_happens(probability, thread != NULL ? &thread->random : &once);
}

bool sampling_tells_large(const void *block, size_t size, size_t block_size)
{
    double probability = probability_of(block_size, doublings_in_force());
    if (!happens(probability))
        return false;
    tell(block, size, probability);
    return true;
}

/* Which eighth of which power of two; n: 8 or more. */
static unsigned eighth_of(size_t n)
{
    unsigned shift = (unsigned)(sizeof(long) * 8 - 4) - (unsigned)__builtin_clzl(n);
    return shift * 8 + (unsigned)(n >> shift & 7);
}

/* With q(n) = 1 - p(n) = exp(-n / mean): a block that grows was not told of before and is now with 1 - q(new) / q(old), which is
 * p(new - old); one that shrinks and was told of stays so with p(new) / p(old). A large one that was told of is told again where its
 * size comes into another eighth. */
bool sampling_tells_resized(const void *block, size_t size, size_t block_size, size_t old_size, bool told)
{
    uint32_t doublings = doublings_in_force();
    bool grown = block_size > old_size, large = told && old_size / 8 > hk_config.sample << doublings;
    size_t change = grown ? block_size - old_size : old_size - block_size;
    if (!grown && !told)
        return false;
    if (large ? eighth_of(block_size) == eighth_of(old_size) : !happens(probability_of(change, doublings)))
        return told;
    if (told)
        HK_PROBE_FIRE(sample_free, block);
    double probability = probability_of(block_size, doublings);
    if (!HK_PROBE_ON(sample_alloc) || (!grown && !happens(probability / probability_of(old_size, doublings))))
        return false;
    tell(block, size, probability);
    return true;
}
