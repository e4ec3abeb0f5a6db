#include "shared_pool.h"

#include <errno.h>

#include "../probes/probe.h"
#include "ace.h"
#include "ace_cap.h"
#include "bin.h"
#include "chance.h"
#include "config.h"
#include "failures.h"
#include "legacy.h"
#include "lock.h"
#include "misuse.h"
#include "os.h"
#include "reclaim.h"
#include "region.h"
#include "superslab.h"

#define POOL_CHAINS 16u
#define POOL_CHAINED_BYTES ((size_t)1 << 20) /* of one class */
#define VAIN_MOST 256u /* blocks and lists that are looked at in vain for each block that only seems free */

/* In the order in which a refill takes from them; those of sampled blocks alone, from which none does. */
enum slab_list { DENSE, SPARSE, PURGED, REFILL_LISTS, SAMPLED = REFILL_LISTS, SLAB_LISTS, UNLISTED };

struct class_pool {
    struct hk_lock lock;
    uint32_t nchains;   /* lock: */
    uint32_t chained;   /* lock: blocks in all chains */
    uint16_t epoch;     /* lock: one more for each time that the pool was abandoned */
    uint64_t in_vain;   /* lock: blocks and lists that looks passed by in vain, less what was paid off */
    uint64_t nfree;     /* lock: sum of the slabs' nfree */
    int64_t sparse;     /* lock: bytes by which shared_pool_sparse is behind */
    struct ace_cap cap; /* lock: mid classes: how many blocks may wait in chains; a hit is a refill by a chain */
    struct hk_chain chains[POOL_CHAINS]; /* lock: oldest first */
    uint64_t chain_stamps[POOL_CHAINS];  /* lock: ms */
    struct {
        struct slab *first, *last; /* lock: newest first */
    } lists[SLAB_LISTS];
} __attribute__((aligned(HK_CACHE_LINE)));

static struct class_pool pools[HK_CACHED_CLASSES];
static uint64_t chained_bytes; /* any: over all classes */
uint64_t shared_pool_sparse;

/* Of the classes that ACE sets caps for. */
static bool is_mid(unsigned class_idx)
{
    return class_idx >= HK_SMALL_CLASSES;
}

static void list_remove(struct class_pool *pool, struct slab *slab)
{
    if (slab->list == UNLISTED)
        return;
    *(slab->prev != NULL ? &slab->prev->next : &pool->lists[slab->list].first) = slab->next;
    *(slab->next != NULL ? &slab->next->prev : &pool->lists[slab->list].last) = slab->prev;
    slab->list = UNLISTED;
    pool->sparse -= (int64_t)slab->size;
    slab->size = 0;
}

static void list_insert(struct class_pool *pool, struct slab *slab, enum slab_list list)
{
    slab->prev = NULL;
    slab->next = pool->lists[list].first;
    *(slab->next != NULL ? &slab->next->prev : &pool->lists[list].last) = slab;
    pool->lists[list].first = slab;
    slab->list = (uint8_t)list;
    slab->size = list == SPARSE ? (size_t)slab->nfree * hk_class_size[slab->class_idx] : 0;
    pool->sparse += (int64_t)slab->size;
}

/* Before the lock is let go. */
static void post_sparse(struct class_pool *pool)
{
    if (pool->sparse != 0)
        atomic_add_relaxed(&shared_pool_sparse, (uint64_t)pool->sparse);
    pool->sparse = 0;
}

/* Too little of it is free for whole pages to be: a free block of a mid class is pages. */
static bool is_dense(const struct slab *slab)
{
    return !is_mid(slab->class_idx) && slab->nfree * 2u < slab->blocks;
}

/* Put a slab whose nfree changed where it belongs. Sparse slabs stand in the order of their stamps: the oldest decay first. */
static void list_sort(struct class_pool *pool, struct slab *slab)
{
    enum slab_list list = slab->nfree == 0 ? UNLISTED : slab->sampled ? SAMPLED : is_dense(slab) ? DENSE : SPARSE;
    if (slab->list == list && (list != SPARSE || pool->lists[list].first == slab))
        return;
    list_remove(pool, slab);
    if (list != UNLISTED)
        list_insert(pool, slab, list);
}

static HK_COLD void shared_fail(unsigned class_idx, enum hk_shared_fail reason)
{
    int error = reason == SHARED_FAIL_KERNEL ? errno : 0;
    uint64_t fails = atomic_add_relaxed(&hk_account.classes[class_idx].shared_fails[reason], 1) + 1;
    HK_PROBE_FIRE(shared_fail, class_idx, reason, error, fails);
    failures_add_fallback(class_idx, reason, error);
    ace_trace_shared_fail(class_idx, reason, error);
    if (is_mid(class_idx))
        ace_fail(class_idx, hk_class_size[class_idx], ACE_EXHAUSTION, error);
}

/* A slab that is in no list of the pool becomes one of its own. */
static void admit(struct class_pool *pool, struct slab *slab)
{
    slab->list = UNLISTED;
    slab->size = 0;
    slab->epoch = pool->epoch;
    pool->nfree += slab->nfree;
}

static struct slab *open_slab(struct class_pool *pool, unsigned class_idx, bool sampled, enum hk_server *server)
{
    struct hk_class_account *account = &hk_account.classes[class_idx];
    unsigned units = hk_class_units(class_idx);
    struct superslab_run run = superslab_take(units, units, class_idx);
    struct slab *slab = run.slab;
    if (slab != NULL) {
        slab_open(slab, class_idx, !run.zeroed);
        superslab_set_code(slab, sampled ? HK_CODE_NONE : HK_CODE_OF_CLASS(class_idx));
        *server = run.server;
    } else {
        shared_fail(class_idx, run.fail);
        slab = legacy_open(class_idx);
        *server = SERVED_LEGACY;
        if (slab == NULL)
            return NULL;
    }
    slab->sampled = sampled;
    admit(pool, slab);
    list_sort(pool, slab);
    uint64_t slabs = atomic_add_relaxed(&account->slabs, 1) + 1;
    account_add(&account->slab_blocks, slab->blocks);
    HK_PROBE_FIRE(slab_acquire, class_idx, slab->base, units, slabs);
    return slab;
}

static void close_slab(struct class_pool *pool, struct slab *slab)
{
    unsigned class_idx = slab->class_idx, units = slab->units, blocks = slab->blocks;
    const void *base = slab->base;
    list_remove(pool, slab);
    slab->sampled = false;
    if (!legacy_owns(slab)) {
        superslab_give(slab);
    } else if (!legacy_close(slab)) {
        list_insert(pool, slab, PURGED);
        return;
    }
    pool->nfree -= blocks;
    uint64_t slabs = atomic_sub_relaxed(&hk_account.classes[class_idx].slabs, 1) - 1;
    atomic_sub_relaxed(&hk_account.classes[class_idx].slab_blocks, blocks);
    HK_PROBE_FIRE(slab_release, class_idx, base, units, slabs);
}

static struct slab *first_slab(const struct class_pool *pool)
{
    for (unsigned list = 0; list < REFILL_LISTS; list++)
        if (pool->lists[list].first != NULL)
            return pool->lists[list].first;
    return NULL;
}

static uint32_t take_blocks(struct slab *slab, uint32_t want, struct hk_chain *chain)
{
    if (hk_likely(hk_config.harden == 0))
        return slab_take(slab, want, chain);
    *chain = (struct hk_chain){slab_take_any(slab, chance_next()), 1};
    return 1;
}

/* From the slabs that the class holds, and from new ones while less than half of what is wanted was found. */
static struct pool_refill refill_from_slabs(struct class_pool *pool, unsigned class_idx, uint32_t want)
{
    struct pool_refill refill = {.server = SERVED_SLAB};
    uint64_t now_ms = os_now_ms();
    while (refill.chain.count < want) {
        struct slab *slab = first_slab(pool);
        if (slab == NULL) {
            enum hk_server server;
            if (refill.chain.count >= (want + 1) / 2 || (slab = open_slab(pool, class_idx, false, &server)) == NULL)
                break;
            if (refill.server < server)
                refill.server = server;
        }
        uint32_t taken = take_blocks(slab, want - refill.chain.count, &refill.chain);
        pool->nfree -= taken;
        slab->stamp_ms = now_ms;
        if (legacy_owns(slab)) {
            refill.server = SERVED_LEGACY;
            account_add(&hk_account.classes[class_idx].legacy_allocs, taken);
        }
        list_sort(pool, slab);
    }
    post_sparse(pool);
    return refill;
}

static void count_chained(struct class_pool *pool, unsigned class_idx, uint32_t blocks)
{
    pool->chained += blocks;
    atomic_add_relaxed(&chained_bytes, (uint64_t)(int64_t)(int32_t)blocks * hk_class_size[class_idx]);
    atomic_store_relaxed(&hk_account.classes[class_idx].cached_blocks, pool->chained);
}

/* Whether a link leads into a slab of the class, where a block's two words can be read. */
static inline bool is_of_class(const void *ptr, unsigned class_idx)
{
    uintptr_t unit = ((uintptr_t)ptr - region_base) >> HK_UNIT_SHIFT;
    if ((uintptr_t)ptr % HK_UNIT_SIZE > HK_UNIT_SIZE - HK_ALIGNMENT)
        return false;
    if (hk_likely(unit < atomic_load_relaxed(&region_units) &&
                  atomic_load_relaxed(&region_map[unit]) == hk_bin_at_code(HK_CODE_OF_CLASS(class_idx))))
        return true;
    const struct slab *slab = legacy_find(ptr);
    return slab != NULL && slab->class_idx == class_idx;
}

bool shared_pool_cut(unsigned class_idx, struct hk_chain *chain, uint32_t count, struct hk_chain *front)
{
    void *last = chain->head, *next = last;
    for (uint32_t i = 0; i < count || (i == count && next != NULL); i++) {
        bool of_class = is_of_class(next, class_idx);
        if (hk_unlikely(!of_class || !hk_is_sound(next))) {
            front->head = of_class ? next : last; /* the one that was overwritten */
            return false;
        }
        if (i < count) {
            last = next;
            next = hk_link(last);
        }
    }
    *front = (struct hk_chain){chain->head, count};
    *chain = (struct hk_chain){next, next != NULL ? chain->count - count : 0};
    hk_set_link(last, NULL);
    return true;
}

static bool leads_to_free(const void *next, unsigned class_idx)
{
    return next == NULL || (is_of_class(next, class_idx) && hk_is_marked(next));
}

/* A live block may bear a mark by chance: then its link leads to no free block of the class, hardly ever. A program that copied
 * the words of a free block into many must not pay for a long list at the free of each. */
bool shared_pool_seems_free(unsigned class_idx, const void *block)
{
    struct class_pool *pool = &pools[class_idx];
    hk_lock(&pool->lock);
    bool seems = leads_to_free(hk_link(block), class_idx) || leads_to_free(hk_bare_link(block), class_idx);
    if (seems && hk_unlikely(pool->in_vain >= VAIN_MOST)) {
        pool->in_vain -= VAIN_MOST;
        seems = false;
    }
    hk_unlock(&pool->lock);
    return seems;
}

/* The class's lock is held, so that no slab of it goes while its blocks are read. */
static bool list_holds(struct class_pool *pool, unsigned class_idx, const void *at, const void *block)
{
    uint64_t most = atomic_load_relaxed(&hk_account.classes[class_idx].slab_blocks), i;
    for (i = 0; i < most && is_of_class(at, class_idx); i++) {
        if (at == block)
            return true;
        if (!hk_is_sound(at))
            break;
        at = hk_link(at);
    }
    pool->in_vain += i + 1;
    return false;
}

bool shared_pool_list_holds(unsigned class_idx, const void *head, const void *block)
{
    struct class_pool *pool = &pools[class_idx];
    hk_lock(&pool->lock);
    bool holds = list_holds(pool, class_idx, head, block);
    hk_unlock(&pool->lock);
    return holds;
}

bool shared_pool_chains_hold(unsigned class_idx, const void *block)
{
    struct class_pool *pool = &pools[class_idx];
    bool holds = false;
    hk_lock(&pool->lock);
    for (uint32_t i = 0; i < pool->nchains && !holds; i++)
        holds = list_holds(pool, class_idx, pool->chains[i].head, block);
    hk_unlock(&pool->lock);
    return holds;
}

/* Locks are released before an abort, so that a SIGABRT handler may allocate. */
static HK_COLD _Noreturn void stop(struct class_pool *pool, unsigned class_idx, enum misuse_kind kind,
                                   const void *block)
{
    hk_unlock(&pool->lock);
    reclaim_break_off();
    misuse_abort(kind, block, hk_class_size[class_idx]);
}

static bool refill_from_chains(struct class_pool *pool, unsigned class_idx, uint32_t want, uint32_t most,
                               struct pool_refill *refill)
{
    if (pool->nchains == 0)
        return false;
    struct hk_chain *newest = &pool->chains[pool->nchains - 1];
    uint32_t before = newest->count, left = 0;
    bool sound = true;
    if (before <= most)
        refill->chain = *newest;
    else if ((sound = shared_pool_cut(class_idx, newest, want, &refill->chain)))
        left = newest->count;
    if (left == 0) /* a corrupt one is left alone for good, so that a handler of SIGABRT may allocate */
        pool->nchains--;
    count_chained(pool, class_idx, left - before);
    if (hk_unlikely(!sound))
        stop(pool, class_idx, MISUSE_CORRUPT_LIST, refill->chain.head);
    refill->server = SERVED_CHAIN;
    return true;
}

static bool chains_have_room(const struct class_pool *pool, unsigned class_idx, uint32_t blocks)
{
    size_t chained = (size_t)pool->chained + blocks;
    if (pool->nchains >= POOL_CHAINS)
        return false;
    return is_mid(class_idx) ? chained <= pool->cap.cap : chained * hk_class_size[class_idx] <= POOL_CHAINED_BYTES;
}

/* A mid class's request was served by a chain, or not: ACE learns from it. */
static void learn(struct class_pool *pool, unsigned class_idx, bool hit)
{
    bool window_full = hit ? ace_cap_hit(&pool->cap, pool->chained) : ace_cap_miss(&pool->cap);
    if (!window_full)
        return;
    uint32_t target = (uint32_t)hk_config.ace_hit_rate;
    struct ace_cap_move move = ace_cap_adapt(&pool->cap, pool->chained, ace_cap_most(hk_class_size[class_idx]), target);
    atomic_store_relaxed(&hk_account.classes[class_idx].cap_blocks, pool->cap.cap);
    if (move.from != move.to)
        HK_PROBE_FIRE(ace_adapt, class_idx, move.from, move.to, move.hit_rate, target);
}

struct pool_refill shared_pool_refill(unsigned class_idx, uint32_t want, uint32_t most)
{
    struct class_pool *pool = &pools[class_idx];
    struct pool_refill refill = {.server = SERVED_SLAB};
    int saved = errno;
    for (unsigned attempt = 0; attempt < 2 && refill.chain.count == 0; attempt++) {
        if (attempt > 0)
            reclaim_everything(HK_SUPERSLAB_SIZE);
        hk_lock(&pool->lock);
        bool hit = refill_from_chains(pool, class_idx, want, most, &refill);
        if (!hit)
            refill = refill_from_slabs(pool, class_idx, want);
        if (is_mid(class_idx))
            learn(pool, class_idx, hit);
        hk_unlock(&pool->lock);
    }
    errno = refill.chain.count != 0 ? saved : ENOMEM;
    return refill;
}

void *shared_pool_take_sampled(unsigned class_idx)
{
    struct class_pool *pool = &pools[class_idx];
    struct hk_chain chain = {NULL, 0};
    enum hk_server server;
    int saved = errno;
    hk_lock(&pool->lock);
    struct slab *slab = pool->lists[SAMPLED].first;
    if (slab == NULL)
        slab = open_slab(pool, class_idx, true, &server);
    if (slab != NULL) {
        pool->nfree -= slab_take(slab, 1, &chain);
        slab->stamp_ms = os_now_ms();
        if (legacy_owns(slab))
            account_add(&hk_account.classes[class_idx].legacy_allocs, 1);
        list_sort(pool, slab);
        post_sparse(pool);
    }
    hk_unlock(&pool->lock);
    errno = saved;
    return chain.head;
}

/* A block of the class's slab into its bitmap. */
static enum slab_give_result give_block(struct class_pool *pool, struct slab *slab, void *block, uint64_t now_ms)
{
    if (hk_unlikely(slab->epoch != pool->epoch)) { /* the first block that comes back since it was abandoned */
        slab_recount(slab);
        admit(pool, slab);
    }
    enum slab_give_result result = slab_give(slab, block);
    if (hk_unlikely(result != SLAB_GIVEN))
        return result;
    slab->stamp_ms = now_ms;
    pool->nfree++;
    if (slab->nfree == slab->blocks)
        close_slab(pool, slab);
    else
        list_sort(pool, slab);
    return SLAB_GIVEN;
}

/* The slab that holds block, counted as one that comes back; NULL: it lies in none of the class's. */
static struct slab *slab_of(unsigned class_idx, const void *block)
{
    struct slab *slab = superslab_find(block);
    if (slab == NULL && (slab = legacy_find(block)) != NULL)
        account_add(&hk_account.classes[class_idx].legacy_frees, 1);
    return slab != NULL && slab->class_idx == class_idx ? slab : NULL;
}

/* Blocks into their slabs' bitmaps; every block is checked before it is believed. */
static void give_chain(struct class_pool *pool, unsigned class_idx, struct hk_chain chain)
{
    uint64_t now_ms = os_now_ms();
    void *block = chain.head, *last = block;
    for (uint32_t i = 0; i < chain.count && block != NULL; i++) {
        struct slab *slab = slab_of(class_idx, block);
        if (hk_unlikely(slab == NULL || !hk_is_sound(block)))
            stop(pool, class_idx, MISUSE_CORRUPT_LIST, slab != NULL ? block : last); /* the one that was overwritten */
        void *next = hk_link(block);
        enum slab_give_result result = give_block(pool, slab, block, now_ms);
        if (hk_unlikely(result != SLAB_GIVEN))
            stop(pool, class_idx, result == SLAB_DOUBLE ? MISUSE_DOUBLE_FREE : MISUSE_INTERIOR_FREE, block);
        last = block;
        block = next;
    }
    post_sparse(pool);
}

enum slab_give_result shared_pool_put(unsigned class_idx, void *block)
{
    struct class_pool *pool = &pools[class_idx];
    hk_lock(&pool->lock);
    struct slab *slab = slab_of(class_idx, block);
    enum slab_give_result result = slab != NULL ? give_block(pool, slab, block, os_now_ms()) : SLAB_INTERIOR;
    post_sparse(pool);
    hk_unlock(&pool->lock);
    return result;
}

static void give_oldest_chain(struct class_pool *pool, unsigned class_idx)
{
    struct hk_chain oldest = pool->chains[0];
    pool->nchains--;
    for (uint32_t i = 0; i < pool->nchains; i++) {
        pool->chains[i] = pool->chains[i + 1];
        pool->chain_stamps[i] = pool->chain_stamps[i + 1];
    }
    count_chained(pool, class_idx, 0u - oldest.count);
    ace_cap_drop(&pool->cap, pool->chained);
    give_chain(pool, class_idx, oldest);
}

void shared_pool_drain(unsigned class_idx, struct hk_chain chain, bool apart)
{
    struct class_pool *pool = &pools[class_idx];
    if (chain.count == 0)
        return;
    int saved = errno;
    hk_lock(&pool->lock);
    while (!apart && !chains_have_room(pool, class_idx, chain.count) && pool->nchains > 0)
        give_oldest_chain(pool, class_idx);
    if (apart || !chains_have_room(pool, class_idx, chain.count) ||
        atomic_load_relaxed(&chained_bytes) > hk_config.retain) {
        give_chain(pool, class_idx, chain);
    } else {
        pool->chains[pool->nchains] = chain;
        pool->chain_stamps[pool->nchains] = os_now_ms();
        pool->nchains++;
        count_chained(pool, class_idx, chain.count);
        ace_cap_put(&pool->cap, pool->chained);
    }
    hk_unlock(&pool->lock);
    errno = saved;
}

/* A slab that stays sparse loses the pages on which none of its blocks is in use; it is then left alone until it changes.
 * The lock is let go between slabs, since the kernel takes its time. */
static size_t purge_sparse(struct class_pool *pool, uint64_t now_ms, uint64_t age_ms)
{
    size_t purged = 0;
    for (;;) {
        struct slab *slab = pool->lists[SPARSE].last;
        if (slab == NULL || !os_is_aged(slab->stamp_ms, now_ms, age_ms))
            return purged;
        purged += slab_purge(slab);
        list_remove(pool, slab);
        list_insert(pool, slab, PURGED);
        post_sparse(pool);
        hk_unlock(&pool->lock);
        hk_lock(&pool->lock);
    }
}

static size_t decay(uint64_t now_ms, uint64_t age_ms, bool chains)
{
    size_t purged = 0;
    for (unsigned class_idx = 0; class_idx < HK_CACHED_CLASSES; class_idx++) {
        struct class_pool *pool = &pools[class_idx];
        if (atomic_load_relaxed(&hk_account.classes[class_idx].slabs) == 0)
            continue;
        hk_lock(&pool->lock);
        while (chains && pool->nchains > 0 && os_is_aged(pool->chain_stamps[0], now_ms, age_ms))
            give_oldest_chain(pool, class_idx);
        purged += purge_sparse(pool, now_ms, age_ms);
        hk_unlock(&pool->lock);
    }
    return purged;
}

size_t shared_pool_decay(uint64_t now_ms, uint64_t age_ms)
{
    return decay(now_ms, age_ms, true);
}

size_t shared_pool_purge(uint64_t now_ms)
{
    return decay(now_ms, 0, false);
}

void shared_pool_init(void)
{
    for (unsigned class_idx = HK_SMALL_CLASSES; class_idx < HK_CACHED_CLASSES; class_idx++) {
        ace_cap_init(&pools[class_idx].cap);
        hk_account.classes[class_idx].cap_blocks = pools[class_idx].cap.cap;
    }
}

uint64_t shared_pool_free_blocks(unsigned class_idx)
{
    struct class_pool *pool = &pools[class_idx];
    hk_lock(&pool->lock);
    uint64_t blocks = pool->nfree + pool->chained;
    hk_unlock(&pool->lock);
    return blocks;
}

void shared_pool_before_fork(void)
{
    for (unsigned class_idx = 0; class_idx < HK_CACHED_CLASSES; class_idx++)
        hk_lock(&pools[class_idx].lock);
}

void shared_pool_after_fork(bool raw_child)
{
    uint64_t chained = 0;
    for (unsigned class_idx = HK_CACHED_CLASSES; class_idx-- > 0;) {
        struct class_pool *pool = &pools[class_idx];
        if (!raw_child) {
            hk_unlock(&pool->lock);
            continue;
        }
        if (hk_lock_is_held(&pool->lock)) {
            /* Caught in the middle of a change: what the lock protects can't be believed, but for the slabs' bitmaps. */
            *pool = (struct class_pool){.lock = HK_LOCK_FREE, .epoch = (uint16_t)(pool->epoch + 1)};
            ace_cap_init(&pool->cap);
        }
        chained += (uint64_t)pool->chained * hk_class_size[class_idx];
    }
    if (raw_child) /* a thread that is not here may have been between a pool's count and the sum */
        atomic_store_relaxed(&chained_bytes, chained);
}
