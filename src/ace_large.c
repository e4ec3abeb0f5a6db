/* ace_large.c - see ace_large.h. */
#include "ace_large.h"

#include <errno.h>
#include <string.h>

#include "../probes/probe.h"
#include "ace.h"
#include "ace_account.h"
#include "ace_cap.h"
#include "ace_huge.h"
#include "canary.h"
#include "chain.h"
#include "config.h"
#include "lock.h"
#include "misuse.h"
#include "os.h"
#include "reclaim.h"
#include "superslab.h"

#define LARGE_CLASSES (HK_SIZED_CLASSES - HK_CACHED_CLASSES)

struct large_pool {
    struct hk_lock lock;
    uint32_t count;     /* lock: class; read without it to pass by what is empty */
    struct slab *head;  /* lock: class; the run freed last; linked through next and prev */
    struct slab *tail;  /* lock: class */
    uint64_t hits;      /* lock: class; since the last miss */
    struct ace_cap cap; /* lock: class */
    uint32_t posted;    /* lock: class; count <= posted: so many runs of it are in ace_large_posted; read as count is */
} __attribute__((aligned(HK_CACHE_LINE)));

static struct large_pool pools[LARGE_CLASSES];
static struct ace_report reports[LARGE_CLASSES];

uint64_t ace_large_posted;

static struct large_pool *pool_of(unsigned class_idx)
{
    return &pools[class_idx - HK_CACHED_CLASSES];
}

static size_t run_bytes(unsigned class_idx)
{
    return (size_t)hk_class_units(class_idx) << HK_UNIT_SHIFT;
}

/* ---- the list; the class's lock is held ---- */

static inline void set_count(unsigned class_idx, struct large_pool *pool, uint32_t count)
{
    atomic_store_relaxed(&pool->count, count);
    atomic_store_relaxed(&hk_account.classes[class_idx].cached_blocks, count);
}

/* True: more waits than was known outside. */
static inline bool push(unsigned class_idx, struct large_pool *pool, struct slab *run)
{
    run->prev = NULL;
    run->next = pool->head;
    if (pool->head != NULL)
        pool->head->prev = run;
    else
        pool->tail = run;
    pool->head = run;
    set_count(class_idx, pool, pool->count + 1);
    if (hk_likely(pool->count <= pool->posted))
        return false;
    atomic_store_relaxed(&pool->posted, pool->count);
    atomic_add_relaxed(&ace_large_posted, run_bytes(class_idx));
    return true;
}

static inline struct slab *pop(unsigned class_idx, struct large_pool *pool)
{
    struct slab *run = pool->head;
    pool->head = run->next;
    if (pool->head != NULL)
        pool->head->prev = NULL;
    else
        pool->tail = NULL;
    set_count(class_idx, pool, pool->count - 1);
    return run;
}

static void post(unsigned class_idx, struct large_pool *pool)
{
    if (pool->posted != pool->count)
        atomic_sub_relaxed(&ace_large_posted, (uint64_t)(pool->posted - pool->count) * run_bytes(class_idx));
    atomic_store_relaxed(&pool->posted, pool->count);
}

/* Cut the coldest `n` runs off: a list linked through next. The class holds them no longer. */
static struct slab *cut(unsigned class_idx, struct large_pool *pool, uint32_t n)
{
    struct slab *first = NULL;
    for (uint32_t i = 0; i < n; i++) {
        struct slab *run = pool->tail;
        pool->tail = run->prev;
        run->next = first;
        first = run;
    }
    if (pool->tail != NULL)
        pool->tail->next = NULL;
    else
        pool->head = NULL;
    set_count(class_idx, pool, pool->count - n);
    ace_uncount(&hk_account.classes[class_idx].slabs, n);
    ace_uncount(&hk_account.classes[class_idx].slab_blocks, n);
    return first;
}

/* A list of a run that the class held, and that does not wait. */
static struct slab *drop(unsigned class_idx, struct slab *run)
{
    run->next = NULL;
    ace_uncount(&hk_account.classes[class_idx].slabs, 1);
    ace_uncount(&hk_account.classes[class_idx].slab_blocks, 1);
    return run;
}

/* ---- without a lock ---- */

/* Make it read as zeros. True: by giving its pages back; not those that the program locked. errno kept. */
static bool wipe(struct slab *run)
{
    size_t bytes = (size_t)run->units << HK_UNIT_SHIFT;
    int saved = errno;
    if (os_purge(run->base, bytes))
        return true;
    errno = saved;
    memset(run->base, 0, bytes);
    return false;
}

/* In hardened mode wiped again: the program may have written to it since. */
static void give_run(struct slab *run)
{
    if (hk_config.harden != 0 && wipe(run))
        superslab_give_clean(run);
    else
        superslab_give(run);
}

/* Give a list of runs back. Returns their bytes. */
static size_t give_back(unsigned class_idx, struct slab *run)
{
    size_t bytes = 0;
    while (run != NULL) {
        struct slab *next = run->next;
        HK_PROBE_FIRE(slab_release, class_idx, run->base, run->units,
                      atomic_load_relaxed(&hk_account.classes[class_idx].slabs));
        give_run(run);
        bytes += run_bytes(class_idx);
        run = next;
    }
    return bytes;
}

/* A window's end: move the cap, give back what exceeds it, report. */
static HK_COLD void adapt(unsigned class_idx)
{
    struct large_pool *pool = pool_of(class_idx);
    uint64_t now = os_now_ms();
    reclaim_set_clock(now);
    hk_lock(&pool->lock);
    if (pool->cap.requests < ACE_WINDOW) { /* another thread was faster */
        hk_unlock(&pool->lock);
        return;
    }
    uint32_t most = ace_cap_most(hk_class_size[class_idx]), target = (uint32_t)hk_config.ace_hit_rate;
    struct ace_cap_move move = ace_cap_adapt(&pool->cap, pool->count, most, target);
    struct slab *excess = pool->count > move.to ? cut(class_idx, pool, pool->count - move.to) : NULL;
    post(class_idx, pool);
    atomic_store_relaxed(&hk_account.classes[class_idx].cap_blocks, move.to);
    bool report = ace_report_due(&hk_account.classes[class_idx], &reports[class_idx - HK_CACHED_CLASSES], now);
    hk_unlock(&pool->lock);
    if (move.from != move.to)
        HK_PROBE_FIRE(ace_adapt, class_idx, move.from, move.to, move.hit_rate, target);
    if (report)
        ace_report_fire(class_idx);
    give_back(class_idx, excess);
    reclaim_decay(now);
}

/* ---- allocation ---- */

/* What lies in the run behind the block is in nobody's use, but may be resident from an earlier life. */
static void purge_rest(const struct slab *run, size_t size)
{
    size_t rest = ((size_t)run->units << HK_UNIT_SHIFT) - size;
    int saved = errno;
    if (rest >= size / 2)
        os_purge(run->base + size, rest);
    errno = saved;
}

/* Nothing that waits will do. The class's lock is held, and let go. */
static HK_NOINLINE void *alloc_miss(unsigned class_idx, size_t size, size_t align, bool zero, int *error)
{
    struct large_pool *pool = pool_of(class_idx);
    struct hk_class_account *account = &hk_account.classes[class_idx];
    size_t block_bytes = hk_class_size[class_idx];
    unsigned align_units = align > HK_UNIT_SIZE ? (unsigned)(align >> HK_UNIT_SHIFT) : 1;
    bool window_full = ace_cap_miss(&pool->cap);
    struct superslab_run got = superslab_take(hk_class_units(class_idx), align_units, class_idx);
    struct slab *run = got.slab;
    if (run == NULL) {
        *error = got.fail == SHARED_FAIL_KERNEL ? errno : 0;
        hk_unlock(&pool->lock);
        if (window_full)
            adapt(class_idx);
        return NULL;
    }
    uint8_t *base = run->base;
    run->blocks = 1;
    run->nfree = 0;
    run->size = block_bytes;
    atomic_store_relaxed(&run->in_use, true);
    uint64_t hits = pool->hits, now = os_now_ms();
    pool->hits = 0;
    ace_count_alloc(account, block_bytes);
    ace_count_miss(account, got.server, hits);
    ace_count(&account->slabs, 1);
    ace_count(&account->slab_blocks, 1);
    uint64_t slabs = account->slabs, misses = account->misses;
    bool report = ace_report_due(account, &reports[class_idx - HK_CACHED_CLASSES], now);
    hk_unlock(&pool->lock);

    reclaim_set_clock(now);
    HK_PROBE_FIRE(slab_acquire, class_idx, base, hk_class_units(class_idx), slabs);
    HK_PROBE_FIRE(fast_miss, class_idx, size, got.server, 1, hits, misses);
    if (report)
        ace_report_fire(class_idx);
    if (!got.zeroed)
        purge_rest(run, block_bytes);
    if (zero && !got.zeroed)
        memset(base, 0, block_bytes);
    else if (!got.zeroed) /* a mark from when a small block began here: the block's copy may come to lie here as well */
        hk_clear_mark(base);
    if (window_full)
        adapt(class_idx);
    reclaim_decay(now); /* which checks the bound as well */
    return base;
}

void *ace_large_alloc(unsigned class_idx, size_t size, size_t align, bool zero, int *error)
{
    struct large_pool *pool = pool_of(class_idx);
    hk_lock(&pool->lock);
    struct slab *run = pool->head;
    if (hk_unlikely(run == NULL || ((uintptr_t)run->base & (align - 1)) != 0 || hk_config.harden != 0))
        return alloc_miss(class_idx, size, align, zero, error);
    pop(class_idx, pool);
    atomic_store_relaxed(&run->in_use, true);
    uint8_t *base = run->base;
    size_t block_bytes = run->size;
    pool->hits++;
    ace_count_alloc(&hk_account.classes[class_idx], block_bytes);
    bool window_full = ace_cap_hit(&pool->cap, pool->count);
    hk_unlock(&pool->lock);
    if (hk_unlikely(window_full))
        adapt(class_idx);
    if (zero)
        memset(base, 0, block_bytes);
    return base;
}

/* ---- free ---- */

/* A run that waits serves its class alone; a free unit serves all, and merges with its neighbours. So all pools together hold an
 * eighth of what may be free; a class's only run may wait up to a quarter. */
static inline bool is_full(const struct large_pool *pool)
{
    if (pool->count >= pool->cap.cap)
        return true;
    if (pool->count < pool->posted)
        return false;
    uint64_t waiting = atomic_load_relaxed(&ace_large_posted), bound = reclaim_bound();
    return waiting > bound / 8 && (pool->count > 0 || waiting > bound / 4);
}

bool ace_free_large(struct slab *run, void *ptr)
{
    unsigned class_idx = atomic_load_relaxed(&run->class_idx);
    if (hk_unlikely(class_idx - HK_CACHED_CLASSES >= LARGE_CLASSES))
        return false;
    struct large_pool *pool = pool_of(class_idx);
    if (hk_unlikely(hk_config.harden != 0)) {
        size_t size = ace_usable_large(run, ptr);
        /* Once more, since another thread may have freed it meanwhile. */
        if (size != 0 && !canary_is_whole(ptr, size) && ace_usable_large(run, ptr) == size)
            misuse_abort(MISUSE_OVERFLOW, ptr, size);
    }
    hk_lock(&pool->lock);
    /* The class again: until the lock was held, the run may have been freed and given to another. */
    if (hk_unlikely(!run->in_use || run->base != ptr || run->class_idx != class_idx)) {
        hk_unlock(&pool->lock);
        return false;
    }
    atomic_store_relaxed(&run->in_use, false);
    run->stamp_ms = atomic_load_relaxed(&reclaim_clock_ms);
    ace_count_free(&hk_account.classes[class_idx], run->size);
    if (hk_unlikely(hk_config.harden != 0))
        wipe(run);
    struct slab *excess = NULL;
    bool full = is_full(pool), more = false;
    if (full && pool->count > 0)
        excess = cut(class_idx, pool, 1);
    if (!full || excess != NULL)
        more = push(class_idx, pool, run);
    else
        excess = drop(class_idx, run);
    if (hk_unlikely(pool->count < pool->posted && excess != NULL))
        post(class_idx, pool);
    ace_cap_put(&pool->cap, pool->count);
    hk_unlock(&pool->lock);
    if (excess != NULL)
        give_back(class_idx, excess);
    if (more || excess != NULL)
        reclaim_check();
    return true;
}

size_t ace_usable_large(const struct slab *run, const void *ptr)
{
    return atomic_load_relaxed(&run->in_use) && run->base == ptr ? run->size : 0;
}

/* ---- resize ---- */

/* The block is none of its class any longer. in_use: it goes on as one of another. */
static void leave_class(struct slab *run, unsigned from, unsigned units, bool in_use)
{
    struct hk_class_account *account = &hk_account.classes[from];
    hk_lock(&pool_of(from)->lock);
    atomic_store_relaxed(&run->in_use, in_use);
    ace_count_free(account, run->size);
    ace_uncount(&account->slabs, 1);
    ace_uncount(&account->slab_blocks, 1);
    uint64_t slabs = account->slabs;
    hk_unlock(&pool_of(from)->lock);
    HK_PROBE_FIRE(slab_release, from, run->base, units, slabs);
}

static void enter_class(struct slab *run, unsigned to)
{
    struct hk_class_account *account = &hk_account.classes[to];
    hk_lock(&pool_of(to)->lock);
    atomic_store_relaxed(&run->class_idx, (uint16_t)to);
    run->size = hk_class_size[to];
    pool_of(to)->hits++;
    ace_count_alloc(account, run->size);
    ace_count(&account->slabs, 1);
    ace_count(&account->slab_blocks, 1);
    uint64_t slabs = account->slabs;
    hk_unlock(&pool_of(to)->lock);
    HK_PROBE_FIRE(slab_acquire, to, run->base, run->units, slabs);
}

/* To a class of more units than the run has and that lie free behind it, or of as many. */
static bool grow_in_place(struct slab *run, unsigned to)
{
    unsigned units = run->units;
    if (to >= HK_SIZED_CLASSES || (hk_class_units(to) > units && !superslab_extend(run, hk_class_units(to))))
        return false;
    leave_class(run, run->class_idx, units, true);
    enter_class(run, to);
    return true;
}

/* Whether blocks of that size come and go: one waits, with its pages. A copy to those costs less than fresh pages here and,
 * some time, where the block was (measured: 40 us against 600 for a block that grows to 1 MiB again and again). */
static bool one_waits(size_t size)
{
    unsigned class_idx = hk_class_of_size(size);
    if (class_idx < HK_SIZED_CLASSES && atomic_load_relaxed(&pool_of(class_idx)->count) != 0)
        return true;
    return ace_huge_cached_bytes() >= size;
}

static void *move_out(struct slab *run, size_t size, size_t align)
{
    if (one_waits(size))
        return NULL;
    void *moved = ace_huge_of_run(run->base, (size_t)run->units << HK_UNIT_SHIFT, size, align);
    if (moved == NULL)
        return NULL;
    leave_class(run, run->class_idx, run->units, false);
    superslab_give_clean(run);
    return moved;
}

void *ace_resize_large(struct slab *run, void *ptr, size_t size, size_t align, bool in_place)
{
    size_t block_bytes = ace_usable_large(run, ptr);
    if (block_bytes == 0)
        return NULL;
    if (size <= block_bytes)
        return in_place || size >= block_bytes / 2 ? ptr : NULL;
    if (grow_in_place(run, hk_class_of_size(size)))
        return ptr;
    return in_place ? NULL : move_out(run, size, align);
}

/* ---- giving back ---- */

static uint32_t count_older(const struct large_pool *pool, uint64_t now_ms, uint64_t age_ms)
{
    uint32_t n = 0;
    for (const struct slab *run = pool->tail; run != NULL && os_is_aged(run->stamp_ms, now_ms, age_ms); run = run->prev)
        n++;
    return n;
}

/* Take the coldest `n` runs out under the lock, the rest of the bookkeeping included. */
static struct slab *retire(unsigned class_idx, struct large_pool *pool, uint32_t n)
{
    struct slab *cold = cut(class_idx, pool, n);
    post(class_idx, pool);
    ace_cap_drop(&pool->cap, pool->count);
    return cold;
}

size_t ace_large_decay(uint64_t now_ms, uint64_t age_ms)
{
    size_t bytes = 0;
    for (unsigned class_idx = HK_CACHED_CLASSES; class_idx < HK_SIZED_CLASSES; class_idx++) {
        struct large_pool *pool = pool_of(class_idx);
        struct ace_report *last = &reports[class_idx - HK_CACHED_CLASSES];
        struct hk_class_account *account = &hk_account.classes[class_idx];
        if (atomic_load_relaxed(&pool->posted) == 0 && !ace_report_pending(account, last))
            continue;
        hk_lock(&pool->lock);
        struct slab *old = retire(class_idx, pool, count_older(pool, now_ms, age_ms));
        bool report = ace_report_due(account, last, now_ms);
        hk_unlock(&pool->lock);
        if (report)
            ace_report_fire(class_idx);
        bytes += give_back(class_idx, old);
    }
    return bytes;
}

size_t ace_large_trim(size_t keep)
{
    size_t bytes = 0, cached;
    while ((cached = ace_large_cached_bytes()) > keep) {
        size_t before = bytes;
        for (unsigned class_idx = HK_SIZED_CLASSES; class_idx-- > HK_CACHED_CLASSES;) {
            struct large_pool *pool = pool_of(class_idx);
            if (atomic_load_relaxed(&pool->count) == 0)
                continue;
            hk_lock(&pool->lock);
            struct slab *old = retire(class_idx, pool, (pool->count + 1) / 2);
            hk_unlock(&pool->lock);
            bytes += give_back(class_idx, old);
            if (bytes - before >= cached - keep)
                break;
        }
        if (bytes == before) /* other threads emptied them */
            break;
    }
    return bytes;
}

size_t ace_large_cached_bytes(void)
{
    size_t bytes = 0;
    for (unsigned class_idx = HK_CACHED_CLASSES; class_idx < HK_SIZED_CLASSES; class_idx++)
        bytes += atomic_load_relaxed(&pool_of(class_idx)->count) * run_bytes(class_idx);
    return bytes;
}

/* ---- life ---- */

void ace_large_init(void)
{
    for (unsigned class_idx = HK_CACHED_CLASSES; class_idx < HK_SIZED_CLASSES; class_idx++) {
        ace_cap_init(&pool_of(class_idx)->cap);
        atomic_store_relaxed(&hk_account.classes[class_idx].cap_blocks, pool_of(class_idx)->cap.cap);
    }
}

void ace_large_before_fork(void)
{
    for (unsigned i = 0; i < LARGE_CLASSES; i++)
        hk_lock(&pools[i].lock);
}

static void abandon(unsigned class_idx, struct large_pool *pool)
{
    pool->head = pool->tail = NULL;
    set_count(class_idx, pool, 0);
    post(class_idx, pool);
    ace_cap_init(&pool->cap);
}

/* A thread that is not here may have been between a pool's count and the sum. */
static void sum_posted(void)
{
    uint64_t bytes = 0;
    for (unsigned class_idx = HK_CACHED_CLASSES; class_idx < HK_SIZED_CLASSES; class_idx++)
        bytes += (uint64_t)pool_of(class_idx)->posted * run_bytes(class_idx);
    atomic_store_relaxed(&ace_large_posted, bytes);
}

void ace_large_after_fork(bool raw)
{
    for (unsigned class_idx = HK_SIZED_CLASSES; class_idx-- > HK_CACHED_CLASSES;) {
        struct large_pool *pool = pool_of(class_idx);
        if (raw) {
            abandon(class_idx, pool);
            hk_lock_reset(&pool->lock);
        } else {
            hk_unlock(&pool->lock);
        }
    }
    if (raw)
        sum_posted();
}
