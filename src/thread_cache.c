#include "thread_cache.h"

#include "../probes/probe.h"
#include "config.h"
#include "guard.h"
#include "harden.h"
#include "heap.h"
#include "lock.h"
#include "misuse.h"
#include "os.h"
#include "reclaim.h"
#include "sampling.h"
#include "shared_pool.h"
#include "thread.h"

#define CLASS_BYTES \
    ((size_t)1 << 20) /* the most of one class, or a quarter of the thread's limit if that is more; of a refill */
#define FREER_BYTES ((size_t)128 << 10)   /* of a class that is only freed here: it wins nothing but larger batches */
#define SHARED_BYTES ((uint64_t)32 << 20) /* the least that all threads' limits may come to beyond HK_OWN_LIMIT each */
#define THREAD_BYTES ((size_t)8 << 20)    /* and one thread's alone */
#define CLAIM_BYTES ((size_t)32 << 10)    /* the least that a limit is raised by */
#define FIRST_BATCH 4096u                 /* bytes of a class's first refill, 1 to 16 blocks */
#define LEAST_BATCH 1024u                 /* the same in a thread that may hold no more */
#define CHAIN_BATCHES 4u /* a chain of up to so many batches is taken whole: none of its blocks is touched */
#define TIGHT_BYTES ((uint32_t)16 << 10) /* the most of a class near a cgroup's limit, once swept */
#define CLOCK_FIRST 64u
#define CLOCK_MOST 1024u
#define CLOCK_LEAST 4u
#define CLOCK_HURRY 16u
#define TICK_MS 8u /* what the clock aims at between two ticks of a class */

#define FIT(size) (0u - (uint32_t)(((HK_UNIT_SIZE / (size) << 32) - 1) / (HK_UNIT_SIZE / (size) * (size) + 1)))
#define BIN(c)                                            \
    {                                                     \
        .room = 1, .fit = FIT((uint64_t)HK_CLASS_SIZE(c)) \
    }

HK_TLS struct hk_tls hk_tls = {.bins = {{.room = 1}, HK_EACH_CACHED_CLASS(BIN)}};

static inline struct hk_bin *bin_of(struct hk_thread *thread, unsigned class_idx)
{
    return &thread->tls->bins[class_idx + 1];
}

static void count_allocs(unsigned class_idx, uint64_t n)
{
    account_add(&hk_account.classes[class_idx].allocs, n);
    account_add(&hk_account.classes[class_idx].alloc_bytes, n * hk_class_size[class_idx]);
}

static void count_frees(unsigned class_idx, uint64_t n)
{
    account_add(&hk_account.classes[class_idx].frees, n);
    account_add(&hk_account.classes[class_idx].free_bytes, n * hk_class_size[class_idx]);
}

/* Take over what the counters tell. */
static struct cache_class *settle(struct hk_thread *thread, unsigned class_idx)
{
    struct hk_bin *bin = bin_of(thread, class_idx);
    struct cache_class *cache = &thread->classes[class_idx];
    /* Of 16 bits: in a child of fork whose handler interrupted malloc, the budget may have gone below 0. */
    uint16_t allocs = (uint16_t)(cache->budget - bin->budget), frees = (uint16_t)(cache->room - bin->room);
    if ((allocs | frees) == 0)
        return cache;
    cache->budget = bin->budget;
    cache->room = bin->room;
    cache->length += (uint32_t)frees - allocs;
    cache->hits += allocs;
    cache->report_allocs += allocs;
    cache->active = true;
    cache->allocates |= allocs != 0;
    if (hk_unlikely(sample_is_running(&cache->sample)))
        sample_pass(&cache->sample, allocs);
    count_allocs(class_idx, allocs);
    count_frees(class_idx, frees);
    return cache;
}

/* Write both counters anew: the last act of every slow path. */
static void arm(struct hk_thread *thread, unsigned class_idx)
{
    struct hk_bin *bin = bin_of(thread, class_idx);
    struct cache_class *cache = &thread->classes[class_idx];
    uint32_t room = cache->capacity > cache->length ? cache->capacity - cache->length : 0;
    uint32_t budget = cache->clock;
    if (hk_unlikely(sampling_is_on() || sample_is_running(&cache->sample)))
        budget = sampling_bound(thread, class_idx);
    cache->cut = budget < cache->clock;
    bin->budget = cache->budget = (uint16_t)budget;
    bin->room = cache->room = (uint16_t)(room < HK_ROOM_MAX ? room + 1 : HK_ROOM_MAX);
}

/* A block of the list was overwritten. The list is left alone for good, so that a handler of SIGABRT may allocate. */
static HK_COLD _Noreturn void stop(struct hk_thread *thread, unsigned class_idx, const void *block)
{
    hk_bin_set_first(bin_of(thread, class_idx), NULL);
    thread->classes[class_idx].length = 0;
    arm(thread, class_idx);
    misuse_abort(MISUSE_CORRUPT_LIST, block, hk_class_size[class_idx]);
}

/* `bytes` in blocks, 1 to 16. */
static uint32_t batch_of(unsigned class_idx, uint32_t bytes)
{
    uint32_t blocks = bytes / hk_class_size[class_idx];
    return blocks > 16 ? 16 : blocks < 1 ? 1 : blocks;
}

/* any: sum of the threads' limits beyond HK_OWN_LIMIT each. May exceed shared_bytes() by what is claimed at the same moment, and where
 * less is live than was, until sweeps lower the limits. */
static uint64_t claimed_bytes;

/* A quarter of what is live, or `least`; nothing when that is near a cgroup's limit. */
static uint64_t share_of_live(uint64_t least)
{
    uint64_t live = reclaim_live_bytes();
    return reclaim_is_tight() ? 0 : reclaim_within_limit(live / 4 > least ? live / 4 : least, live);
}

/* What claimed_bytes may come to. */
static uint64_t shared_bytes(void)
{
    return share_of_live(SHARED_BYTES);
}

/* Raise the thread's limit by half, if what it may have alone and what all threads share leave that. */
static bool claim(struct hk_thread *thread)
{
    size_t more = thread->limit / 2 > CLAIM_BYTES ? thread->limit / 2 : CLAIM_BYTES;
    uint64_t alone = share_of_live(THREAD_BYTES);
    size_t most = hk_config.cache < alone ? (size_t)hk_config.cache : (size_t)alone;
    most = most > thread->limit ? most - thread->limit : 0;
    if (more > most)
        more = most;
    uint64_t claimed = atomic_load_relaxed(&claimed_bytes), shared = shared_bytes();
    size_t left = shared > claimed ? (size_t)(shared - claimed) : 0;
    if (more > left)
        more = left;
    if (more < CLAIM_BYTES)
        return false;
    atomic_add_relaxed(&claimed_bytes, more);
    thread->limit += more;
    return true;
}

static void lower_limit(struct hk_thread *thread, size_t limit)
{
    if (limit >= thread->limit)
        return;
    atomic_sub_relaxed(&claimed_bytes, thread->limit - limit);
    thread->limit = limit;
}

static void set_capacity(struct hk_thread *thread, unsigned class_idx, uint32_t blocks)
{
    struct cache_class *cache = &thread->classes[class_idx];
    thread->granted += ((size_t)blocks - cache->capacity) * hk_class_size[class_idx];
    cache->capacity = blocks;
}

/* Half of what the class may hold and doesn't is free for others. */
static void take_back(struct hk_thread *thread, unsigned class_idx)
{
    const struct cache_class *cache = &thread->classes[class_idx];
    if (cache->length < cache->capacity)
        set_capacity(thread, class_idx, cache->capacity - (cache->capacity - cache->length + 1) / 2);
}

/* Raise the capacity to `want` blocks, or at least nearer, as far as the limits of the class and the thread allow. */
static bool grow(struct hk_thread *thread, unsigned class_idx, uint32_t want)
{
    struct cache_class *cache = &thread->classes[class_idx];
    size_t size = hk_class_size[class_idx];
    size_t class_bytes = !cache->allocates                 ? FREER_BYTES
                         : thread->limit / 4 > CLASS_BYTES ? thread->limit / 4
                                                           : CLASS_BYTES;
    if (want > class_bytes / size)
        want = (uint32_t)(class_bytes / size);
    size_t left = thread->limit > thread->granted ? (thread->limit - thread->granted) / size : 0;
    if (want <= cache->capacity || left == 0)
        return false;
    uint32_t more = want - cache->capacity;
    if (more > left)
        more = (uint32_t)left;
    set_capacity(thread, class_idx, cache->capacity + more);
    return true;
}

/* How many blocks to fetch, `least` or more: a quarter of what the class has come to hold here, so that a burst of n allocations
 * takes O(log n) refills; or of what is live of it if that is less, since others may free what this thread allocates. */
static uint32_t next_batch(const struct cache_class *cache, unsigned class_idx, uint32_t least)
{
    const struct hk_class_account *account = &hk_account.classes[class_idx];
    uint64_t gone = atomic_load_relaxed(&account->frees);
    uint64_t made = atomic_load_relaxed(&account->allocs) + atomic_load_relaxed(&account->inherited);
    uint64_t held = made > gone ? made - gone : 0, most = CLASS_BYTES / hk_class_size[class_idx];
    uint64_t quarter = (held < cache->taken ? held : cache->taken) / 4;
    if (quarter > most)
        quarter = most;
    return quarter > least ? (uint32_t)quarter : least;
}

/* The list is empty: fetch blocks. */
static bool refill(struct hk_thread *thread, unsigned class_idx, size_t size)
{
    struct cache_class *cache = &thread->classes[class_idx];
    struct hk_class_account *account = &hk_account.classes[class_idx];
    uint32_t want = next_batch(cache, class_idx, batch_of(class_idx, FIRST_BATCH));
    if (cache->capacity < want && !grow(thread, class_idx, want) &&
        !(cache->taken > 0 && claim(thread) && grow(thread, class_idx, want))) /* a class's first miss claims nothing */
        want = next_batch(cache, class_idx, batch_of(class_idx, LEAST_BATCH));
    uint32_t most = cache->capacity > CHAIN_BATCHES * want ? cache->capacity : CHAIN_BATCHES * want;
    struct pool_refill got = shared_pool_refill(class_idx, want, most);
    uint64_t misses = atomic_add_relaxed(&account->misses, 1) + 1;
    account_add(&account->hits_per_miss[account_hits_bucket(cache->hits)], 1);
    if (got.chain.count > 0) {
        account_add(&account->refills[got.server], 1);
        account_add(&account->refill_blocks[got.server], got.chain.count);
    }
    HK_PROBE_FIRE(fast_miss, class_idx, size, got.chain.count > 0 ? got.server : HK_SERVERS, got.chain.count,
                  cache->hits, misses);
    cache->hits = 0;
    cache->report_misses++;
    cache->missed = true;
    cache->taken += got.chain.count;
    cache->length = got.chain.count;
    hk_bin_set_first(bin_of(thread, class_idx), got.chain.head);
    return got.chain.count > 0;
}

/* Cut the list behind its first `keep` blocks, those freed last, and hand the rest on. */
static void drain(struct hk_thread *thread, unsigned class_idx, uint32_t keep, enum hk_drain_reason reason)
{
    struct cache_class *cache = &thread->classes[class_idx];
    struct hk_bin *bin = bin_of(thread, class_idx);
    struct hk_chain rest = {hk_bin_first(bin), cache->length}, kept = {NULL, 0};
    if (cache->length <= keep)
        return;
    if (hk_unlikely(rest.head == NULL)) { /* see struct hk_chain */
        cache->length = 0;
        return;
    }
    if (keep > 0 && !shared_pool_cut(class_idx, &rest, keep, &kept))
        stop(thread, class_idx, kept.head);
    hk_bin_set_first(bin, kept.head);
    cache->length = keep > 0 ? kept.count : 0;
    cache->taken -= cache->taken < rest.count ? cache->taken : rest.count;
    struct hk_class_account *account = &hk_account.classes[class_idx];
    uint64_t drains = atomic_add_relaxed(&account->drains[reason], 1) + 1;
    account_add(&account->drain_blocks[reason], rest.count);
    HK_PROBE_FIRE(tls_drain, class_idx, rest.count, (uint64_t)rest.count * hk_class_size[class_idx], reason, drains);
    shared_pool_drain(class_idx, rest, reason != DRAIN_OVERFLOW && reason != DRAIN_EXIT);
}

static void report(struct hk_thread *thread, unsigned class_idx, uint32_t now_ms)
{
    struct cache_class *cache = &thread->classes[class_idx];
    struct hk_class_account *account = &hk_account.classes[class_idx];
    cache->report_ms = now_ms;
    if (cache->report_allocs > 0) {
        uint64_t misses = cache->report_misses < cache->report_allocs ? cache->report_misses : cache->report_allocs;
        account_add(&account->hit_rate[100 - misses * 100 / cache->report_allocs], 1);
    }
    cache->report_allocs = cache->report_misses = 0;
    account_add(&account->reports, 1);
    HK_PROBE_FIRE(cache_report, class_idx, account, account_generation(), sizeof *account);
}

/* All is granted: first take back of what classes may hold and don't, then, where they hold too much, drain to a quarter each list
 * that has half of the mean or more: those have half of all bytes at least. */
static void scavenge(struct hk_thread *thread)
{
    unsigned in_use = 0;
    size_t held = 0;
    for (unsigned c = 0; c < HK_CACHED_CLASSES; c++) {
        struct cache_class *cache = &thread->classes[c];
        if (cache->capacity == 0 && cache->length == 0)
            continue;
        settle(thread, c);
        take_back(thread, c);
        held += (size_t)cache->length * hk_class_size[c];
        in_use += cache->length != 0;
    }
    for (unsigned c = 0; c < HK_CACHED_CLASSES; c++) {
        struct cache_class *cache = &thread->classes[c];
        size_t bytes = (size_t)cache->length * hk_class_size[c];
        if (held > thread->limit / 4 * 3 && bytes * in_use * 2 >= held) {
            drain(thread, c, cache->length / 4, DRAIN_OVERFLOW);
            take_back(thread, c);
        }
        arm(thread, c);
    }
}

/* Blocks of classes that the thread has not used since the last sweep go back; their share of the limit is free for others. Of
 * what classes hold that never ran dry meanwhile, half is too much. Near a cgroup's limit the others keep little too.
 * A limit of which less than half is granted, or more than its share, is halved. */
static void sweep(struct hk_thread *thread, uint64_t now_ms, bool tight)
{
    thread->sweep_ms = now_ms;
    for (unsigned class_idx = 0; class_idx < HK_CACHED_CLASSES; class_idx++) {
        struct cache_class *cache = settle(thread, class_idx);
        if (cache->capacity == 0 && cache->length == 0)
            continue;
        uint32_t keep = !cache->active ? 0 : cache->missed ? cache->length : cache->length - cache->length / 2;
        if (tight && keep > TIGHT_BYTES / hk_class_size[class_idx])
            keep = TIGHT_BYTES / hk_class_size[class_idx];
        drain(thread, class_idx, keep, DRAIN_IDLE);
        if (!cache->active) {
            set_capacity(thread, class_idx, 0);
            cache->taken = 0;
        }
        cache->active = cache->allocates = cache->missed = false;
        cache->taken -= cache->taken / 4;
        arm(thread, class_idx);
    }
    size_t half = thread->limit / 2;
    if (thread->granted < half || atomic_load_relaxed(&claimed_bytes) > shared_bytes())
        lower_limit(thread, half > HK_OWN_LIMIT ? half : HK_OWN_LIMIT);
    if (thread->granted > thread->limit)
        scavenge(thread);
}

/* Much memory is on its way back: make the thread's next ticks come soon, so that the decay of it does not wait for
 * thousands of allocations of a program that has little left to do. */
static void hurry(struct hk_thread *thread)
{
    uint64_t now_ms = os_now_ms();
    if (thread->hurry_ms == now_ms)
        return;
    thread->hurry_ms = now_ms;
    for (unsigned class_idx = 0; class_idx < HK_CACHED_CLASSES; class_idx++) {
        struct hk_bin *bin = bin_of(thread, class_idx);
        struct cache_class *cache = &thread->classes[class_idx];
        if (bin->budget > CLOCK_HURRY) {
            cache->budget = (uint16_t)(cache->budget - (bin->budget - CLOCK_HURRY));
            bin->budget = CLOCK_HURRY;
        }
        if (cache->clock > CLOCK_HURRY)
            cache->clock = CLOCK_HURRY;
    }
}

/* The budget ran out: choose the next by the time that it lasted. */
static void pace(struct cache_class *cache)
{
    uint32_t now_ms = (uint32_t)os_now_ms(), elapsed = now_ms - cache->tick_ms;
    cache->tick_ms = now_ms;
    if (cache->clock == 0)
        cache->clock = CLOCK_FIRST;
    else if (elapsed > TICK_MS)
        cache->clock = cache->clock / 2 > CLOCK_LEAST ? cache->clock / 2 : CLOCK_LEAST;
    else if (cache->clock < CLOCK_MOST)
        cache->clock = (uint16_t)(cache->clock * 2);
}

/* What is due from time to time. */
static void tick(struct hk_thread *thread, unsigned class_idx)
{
    struct cache_class *cache = &thread->classes[class_idx];
    uint64_t now_ms = os_now_ms();
    if ((uint32_t)now_ms - cache->report_ms >= HK_REPORT_MS)
        report(thread, class_idx, (uint32_t)now_ms);
    bool tight = reclaim_is_tight();
    if (now_ms - thread->sweep_ms >= (tight ? RECLAIM_TIGHT_MS : hk_config.decay_ms))
        sweep(thread, now_ms, tight);
    heap_tick(now_ms);
}

void *cache_alloc_uncached(unsigned class_idx, size_t size)
{
    struct hk_class_account *account = &hk_account.classes[class_idx];
    struct pool_refill got = shared_pool_refill(class_idx, 1, 1);
    uint64_t misses = atomic_add_relaxed(&account->misses, 1) + 1;
    account_add(&account->hits_per_miss[0], 1);
    HK_PROBE_FIRE(fast_miss, class_idx, size, got.chain.count > 0 ? got.server : HK_SERVERS, got.chain.count, 0,
                  misses);
    if (got.chain.count == 0)
        return heap_out_of_memory(size);
    account_add(&account->refills[got.server], 1);
    account_add(&account->refill_blocks[got.server], 1);
    count_allocs(class_idx, 1);
    if (harden_is_on())
        return harden_hand_out(class_idx, got.chain.head, size);
    hk_clear_mark(got.chain.head);
    return got.chain.head;
}

static void free_uncached(unsigned class_idx, void *block)
{
    if (harden_is_on()) {
        harden_take_back(class_idx, block);
        count_frees(class_idx, 1);
        return;
    }
    hk_set_link(block, NULL);
    count_frees(class_idx, 1);
    shared_pool_drain(class_idx, (struct hk_chain){block, 1}, true);
}

/* The list's first block, after a refill if there is none; NULL when memory is refused. */
static void *take_from_list(struct hk_thread *thread, unsigned class_idx, size_t size)
{
    struct hk_bin *bin = bin_of(thread, class_idx);
    struct cache_class *cache = &thread->classes[class_idx];
    bool missed = hk_bin_first(bin) == NULL;
    if (!missed && !hk_is_sound(bin->head))
        stop(thread, class_idx, bin->head);
    if (missed && !refill(thread, class_idx, size))
        return NULL;
    void *block = hk_bin_first(bin);
    hk_bin_set_first(bin, hk_link(block));
    hk_clear_mark(block);
    cache->length--;
    if (!missed) {
        cache->hits++;
        account_add(&hk_account.classes[class_idx].ticks, 1);
    }
    return block;
}

static inline __attribute__((always_inline)) void *alloc_slow(size_t size, const void *caller)
{
    unsigned class_idx = HK_CLASS_OF_CODE(hk_code_of_size[(size + HK_ALIGNMENT - 1) / HK_ALIGNMENT]);
    struct hk_bin *bin = &hk_tls.bins[class_idx + 1];
    bin->budget++; /* the attempt that led here is not served yet */
    struct hk_thread *thread = thread_enter();
    if (thread == NULL) /* heap.h's chooses another class for a block that gets a canary */
        return harden_is_on() ? heap_aligned_alloc(HK_ALIGNMENT, size) : cache_alloc_uncached(class_idx, size);
    struct cache_class *cache = settle(thread, class_idx);
    if (bin->budget == 0 && !cache->cut)
        pace(cache);
    void *block = NULL;
    if (hk_unlikely(sample_is_running(&cache->sample)))
        block = sampling_take(thread, class_idx, size, caller);
    if (block == NULL)
        block = take_from_list(thread, class_idx, size);
    if (block == NULL) {
        arm(thread, class_idx);
        return heap_out_of_memory(size);
    }
    cache->report_allocs++;
    cache->active = cache->allocates = true;
    count_allocs(class_idx, 1);
    tick(thread, class_idx);
    arm(thread, class_idx);
    return block;
}

void *cache_alloc_slow(size_t size)
{
    hk_enter();
    void *block = alloc_slow(size, __builtin_return_address(0));
    hk_leave();
    return block;
}

/* Room is counted in frees, whatever is allocated between them: a list that hovers about a length comes here once in as many
 * frees as its capacity is above that. So the capacity is raised while the class comes often, by a claim if need be. Where it may
 * not be, all lists are scavenged, or the cold half of this one is drained. */
static void make_room(struct hk_thread *thread, unsigned class_idx)
{
    struct cache_class *cache = &thread->classes[class_idx];
    uint32_t more = LEAST_BATCH / hk_class_size[class_idx], want = cache->capacity + cache->capacity / 2 + 1;
    uint32_t now_ms = (uint32_t)os_now_ms();
    bool full = cache->length >= cache->capacity - cache->capacity / 4, often = now_ms - cache->room_ms <= TICK_MS;
    cache->room_ms = now_ms;
    if (want < cache->capacity + more)
        want = cache->capacity + more;
    if (!(full || often) || grow(thread, class_idx, want))
        return;
    if (thread->limit < thread->granted + hk_class_size[class_idx]) {
        if (!claim(thread) && full) {
            scavenge(thread);
            hurry(thread);
        }
        if (grow(thread, class_idx, want))
            return;
    }
    if (full) {
        drain(thread, class_idx, cache->capacity / 2, DRAIN_OVERFLOW);
        hurry(thread);
    }
}

static inline __attribute__((always_inline)) void free_slow(unsigned class_idx, void *block)
{
    struct hk_bin *bin = &hk_tls.bins[class_idx + 1];
    struct hk_thread *thread = thread_enter();
    if (thread == NULL) {
        free_uncached(class_idx, block);
        return;
    }
    struct cache_class *cache = settle(thread, class_idx);
    make_room(thread, class_idx);
    if (cache->capacity == 0) {
        free_uncached(class_idx, block);
    } else {
        hk_set_link(block, hk_bin_first(bin));
        hk_bin_set_first(bin, block);
        cache->length++;
        count_frees(class_idx, 1);
    }
    cache->active = true;
    tick(thread, class_idx);
    arm(thread, class_idx);
}

void cache_free_slow(unsigned class_idx, void *block)
{
    hk_enter();
    free_slow(class_idx, block);
    hk_leave();
}

void cache_free_sampled(unsigned class_idx, void *block)
{
    HK_PROBE_FIRE(sample_free, block);
    free_uncached(class_idx, block);
}

void cache_free_guarded(struct guard_slot *slot, void *block, const void *caller)
{
    count_frees(guard_free(slot, block, caller), 1);
}

void cache_settle_all(void)
{
    hk_enter();
    struct hk_thread *thread = thread_enter();
    for (unsigned class_idx = 0; thread != NULL && class_idx < HK_CACHED_CLASSES; class_idx++)
        settle(thread, class_idx);
    hk_leave();
}

/* For reclaim: where memory is refused, what the calling thread keeps for later is needed now. No cache is made for that. */
static void give_all(void)
{
    if (thread_has_cache(hk_tls.self))
        cache_drain_all(DRAIN_TRIM);
}

void cache_init(void)
{
    reclaim_own_cache = give_all;
}

void cache_end(void)
{
    cache_drain_all(DRAIN_EXIT);
    lower_limit(hk_tls.self, HK_OWN_LIMIT);
}

void cache_forgo(struct hk_thread *thread)
{
    lower_limit(thread, HK_OWN_LIMIT);
}

void cache_after_fork(void)
{
    const struct hk_thread *thread = thread_enter();
    size_t own = thread != NULL && thread->limit > HK_OWN_LIMIT ? thread->limit - HK_OWN_LIMIT : 0;
    atomic_store_relaxed(&claimed_bytes, own);
}

void cache_drain_all(enum hk_drain_reason reason)
{
    hk_enter();
    struct hk_thread *thread = thread_enter();
    for (unsigned class_idx = 0; thread != NULL && class_idx < HK_CACHED_CLASSES; class_idx++) {
        settle(thread, class_idx);
        drain(thread, class_idx, 0, reason);
        arm(thread, class_idx);
    }
    hk_leave();
}

uint32_t cache_length(unsigned class_idx)
{
    hk_enter();
    struct hk_thread *thread = thread_enter();
    uint32_t length = thread != NULL ? settle(thread, class_idx)->length : 0;
    hk_leave();
    return length;
}
