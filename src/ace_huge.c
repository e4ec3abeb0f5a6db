/* ace_huge.c - see ace_huge.h. */
#include "ace_huge.h"

#include <errno.h>
#include <string.h>

#include "../probes/probe.h"
#include "ace.h"
#include "ace_account.h"
#include "ace_cap.h"
#include "ace_huge_cache.h"
#include "canary.h"
#include "config.h"
#include "misuse.h"
#include "os.h"
#include "reclaim.h"

#define CAP_MOST 64u                 /* mappings that may wait */
#define MEMSET_MAX ((size_t)4 << 20) /* above, zeros cost more than fresh pages, unless all of them are touched */

/* Measured for 512 KiB: the five system calls of a move take 10 us, 19 us when another thread runs; a copy takes 13 us to
 * pages that are there, 240 us to fresh ones. A move costs the kernel a mapping for as long as the block lives: none is made
 * while there are as many as an eighth of max_map_count's default. */
#define MOVE_LEAST ((size_t)512 << 10)
#define MOVE_MAPPINGS 8192u

static struct hk_class_account *const account = &hk_account.classes[HK_CLASS_HUGE];
static struct ace_cap cap;       /* lock: huge */
static struct ace_report report; /* lock: huge */
static uint64_t hits;            /* lock: huge; since the last miss */

/* What a request gets, be it served here or by a run: a large class's size, above it whole pages. */
static size_t block_bytes_of(size_t size)
{
    if (size <= HK_LARGE_MAX)
        return hk_align_up(hk_class_size[hk_class_of_size(size)], os_page_size);
    return hk_align_up(size, os_page_size);
}

/* ---- allocation ---- */

static HK_COLD void adapt(void)
{
    uint64_t now = os_now_ms();
    hk_lock(&huge_lock);
    if (cap.requests < ACE_WINDOW) { /* another thread was faster */
        hk_unlock(&huge_lock);
        return;
    }
    uint32_t target = (uint32_t)hk_config.ace_hit_rate;
    struct ace_cap_move move = ace_cap_adapt(&cap, huge_waiting(), CAP_MOST, target);
    struct huge *excess = huge_take_beyond(move.to);
    atomic_store_relaxed(&account->cap_blocks, move.to);
    bool due = ace_report_due(account, &report, now);
    hk_unlock(&huge_lock);
    if (move.from != move.to)
        HK_PROBE_FIRE(ace_adapt, HK_CLASS_HUGE, move.from, move.to, move.hit_rate, target);
    if (due)
        ace_report_fire(HK_CLASS_HUGE);
    huge_unmap(excess);
    reclaim_decay(now);
}

static void count_live(size_t bytes)
{
    ace_count(&hk_account.capacity.huge_blocks, 1);
    ace_count(&hk_account.capacity.huge_bytes, bytes);
    ace_count_alloc(account, bytes);
}

/* From the cache: a hit. NULL: a miss, and *part is a mapping that may be made longer, or NULL. */
static struct huge *take_cached(size_t block_bytes, size_t map_len, size_t align, struct huge **part)
{
    hk_lock(&huge_lock);
    struct huge *h = huge_take_fit(map_len, align);
    bool window_full;
    if (h != NULL) {
        atomic_store_relaxed(&h->in_use, true);
        h->size = block_bytes;
        hits++;
        count_live(block_bytes);
        window_full = ace_cap_hit(&cap, huge_waiting());
    } else {
        *part = huge_take_part(map_len, align);
        if (*part != NULL)
            atomic_store_relaxed(&(*part)->in_use, true);
        window_full = ace_cap_miss(&cap);
    }
    hk_unlock(&huge_lock);
    if (h != NULL && h->mapped - map_len > map_len / 8)
        huge_split(h, map_len);
    if (window_full)
        adapt();
    return h;
}

/* Account for a block that the cache did not serve. */
static void count_miss(struct huge *h, size_t size)
{
    uint64_t now = os_now_ms();
    reclaim_set_clock(now);
    hk_lock(&huge_lock);
    uint64_t hits_before = hits;
    hits = 0;
    count_live(h->size);
    ace_count_miss(account, SERVED_SUPERSLAB, hits_before);
    uint64_t misses = account->misses;
    bool due = ace_report_due(account, &report, now);
    hk_unlock(&huge_lock);
    HK_PROBE_FIRE(fast_miss, HK_CLASS_HUGE, size, SERVED_SUPERSLAB, 1, hits_before, misses);
    if (due)
        ace_report_fire(HK_CLASS_HUGE);
    reclaim_decay(now);
}

/* Pages that are there already are worth more than fresh ones: moving them costs a tenth of what faulting in costs. */
static struct huge *lengthen(struct huge *part, size_t map_len, size_t align)
{
    if (part == NULL || huge_remap(part, map_len, align))
        return part;
    atomic_store_relaxed(&part->in_use, false);
    part->next = NULL;
    huge_unmap(part);
    return NULL;
}

static void fill_zero(struct huge *h)
{
    if (!h->clean && (h->size <= MEMSET_MAX || !os_purge(h->base, h->mapped)))
        memset(h->base, 0, h->size);
}

/* What is asked of the kernel at once. */
static size_t with_alignment(size_t map_len, size_t align)
{
    return map_len < SIZE_MAX - align ? map_len + align : SIZE_MAX;
}

void *ace_huge_alloc(unsigned class_idx, size_t size, size_t align, bool zero, bool cached)
{
    int saved = errno;
    size_t block_bytes = block_bytes_of(size), map_len = hk_align_up(block_bytes, HK_UNIT_SIZE);
    if (align < HK_UNIT_SIZE)
        align = HK_UNIT_SIZE;
    struct huge *part = NULL,
                *h = cached && hk_config.harden == 0 ? take_cached(block_bytes, map_len, align, &part) : NULL;
    if (h == NULL) {
        h = lengthen(part, map_len, align);
        if (h == NULL)
            h = huge_map(map_len, align);
        if (h == NULL) {
            reclaim_everything(with_alignment(map_len, align));
            h = huge_map(map_len, align);
        }
        if (h == NULL) {
            ace_fail(class_idx, size, ACE_MAPFAIL, errno);
            errno = ENOMEM;
            return NULL;
        }
        h->size = block_bytes;
        count_miss(h, size);
    }
    if (zero)
        fill_zero(h);
    h->clean = false;
    errno = saved;
    return h->base;
}

/* ---- free ---- */

/* Make room for the one that came last: while too many wait, or too many bytes are free, the coldest go. */
static struct huge *overflow(void)
{
    size_t free_bytes = reclaim_free_bytes(), bound = reclaim_bound();
    uint32_t most = free_bytes > bound ? huge_waiting_without(free_bytes - bound) : huge_waiting();
    return huge_take_beyond(most < cap.cap ? most : cap.cap);
}

bool *ace_huge_sampled(void *owner)
{
    return &((struct huge *)owner)->sampled;
}

bool ace_free_huge(void *owner, void *ptr)
{
    struct huge *h = owner, *excess;
    if (hk_unlikely(hk_config.harden != 0)) {
        size_t size = ace_usable_huge(h, ptr);
        if (size != 0 && !canary_is_whole(ptr, size) && ace_usable_huge(h, ptr) == size)
            misuse_abort(MISUSE_OVERFLOW, ptr, size);
    }
    hk_lock(&huge_lock);
    if (!h->in_use || h->base != ptr) {
        hk_unlock(&huge_lock);
        return false;
    }
    atomic_store_relaxed(&h->in_use, false);
    ace_count_free(account, h->size);
    ace_uncount(&hk_account.capacity.huge_blocks, 1);
    ace_uncount(&hk_account.capacity.huge_bytes, h->size);
    if (hk_unlikely(hk_config.harden != 0))
        h->clean = os_shut(h->base, h->mapped);
    if (h->mapped > hk_config.ace_limit || h->mapped > reclaim_bound() || cap.cap == 0) {
        h->next = NULL;
        excess = h;
    } else {
        h->stamp_ms = os_now_ms();
        huge_put(h);
        excess = overflow();
        ace_cap_put(&cap, huge_waiting());
    }
    hk_unlock(&huge_lock);
    huge_unmap(excess);
    reclaim_check();
    return true;
}

size_t ace_usable_huge(const void *owner, const void *ptr)
{
    const struct huge *h = owner;
    return atomic_load_relaxed(&h->in_use) && h->base == ptr ? h->size : 0;
}

/* ---- resize ---- */

static void count_resize(struct huge *h, size_t to)
{
    hk_lock(&huge_lock);
    if (to > h->size) {
        ace_count(&account->alloc_bytes, to - h->size);
        ace_count(&hk_account.capacity.huge_bytes, to - h->size);
    } else {
        ace_count(&account->free_bytes, h->size - to);
        ace_uncount(&hk_account.capacity.huge_bytes, h->size - to);
    }
    h->size = to;
    hk_unlock(&huge_lock);
}

static void *shrink(struct huge *h, size_t size, size_t block_bytes, bool in_place)
{
    if (!in_place && size <= HK_LARGE_MAX && block_bytes < h->size / 2)
        return NULL;
    size_t map_len = hk_align_up(block_bytes, HK_UNIT_SIZE), tail = h->mapped - map_len;
    count_resize(h, block_bytes);
    if (hk_config.harden != 0) /* the guard stays where it is */
        os_purge(h->base + block_bytes, h->mapped - block_bytes);
    else if (tail > h->mapped / 8 && os_unmap(h->base + map_len, tail, OS_HUGE))
        h->mapped = map_len;
    return h->base;
}

/* How long a mapping that must grow to map_len becomes: an eighth more, so that growth by small steps moves but seldom.
 * Pages that nobody touches cost addresses only, but for a process that is short of those. */
static size_t with_headroom(size_t map_len)
{
    uint64_t limit = os_address_space_limit();
    size_t more = map_len / 8;
    if (limit != UINT64_MAX && more > limit / 64)
        return map_len;
    return hk_align_up(map_len + more, HK_UNIT_SIZE);
}

static bool grow(struct huge *h, size_t map_len, size_t align)
{
    if (map_len > PTRDIFF_MAX - PTRDIFF_MAX / 4)
        return false;
    if (huge_remap(h, with_headroom(map_len), align) || huge_remap(h, map_len, align))
        return true;
    if (errno != ENOMEM)
        return false;
    reclaim_everything(with_alignment(map_len, align));
    return huge_remap(h, map_len, align);
}

static void count_moved(size_t bytes)
{
    hk_lock(&huge_lock);
    hits++;
    count_live(bytes);
    hk_unlock(&huge_lock);
}

void *ace_huge_of_run(void *ptr, size_t len, size_t size, size_t align)
{
    uint64_t mappings = atomic_load_relaxed(&hk_account.capacity.huge_blocks) +
                        atomic_load_relaxed(&hk_account.capacity.huge_cached);
    if (len < MOVE_LEAST || mappings >= MOVE_MAPPINGS || !os_can_move_pages(ptr, len))
        return NULL;
    int saved = errno;
    size_t block_bytes = block_bytes_of(size), map_len = hk_align_up(block_bytes, HK_UNIT_SIZE);
    if (align < HK_UNIT_SIZE)
        align = HK_UNIT_SIZE;
    struct huge *h = huge_map_moved(ptr, len, with_headroom(map_len), align);
    if (h == NULL && errno == ENOMEM)
        h = huge_map_moved(ptr, len, map_len, align);
    errno = saved;
    if (h == NULL)
        return NULL;
    h->size = block_bytes;
    count_moved(block_bytes);
    return h->base;
}

void *ace_resize_huge(void *owner, void *ptr, size_t size, size_t align, bool in_place)
{
    struct huge *h = owner;
    if (ace_usable_huge(h, ptr) == 0)
        return NULL;
    if (!in_place && size <= HK_LARGE_MAX && size < h->size / 2)
        return NULL; /* a smaller block serves it better, and heap_free_sized() counts on it */
    int saved = errno;
    if (size <= HK_CACHED_MAX)
        size = HK_CACHED_MAX + 1;
    size_t block_bytes = block_bytes_of(size), map_len = hk_align_up(block_bytes, HK_UNIT_SIZE);
    void *result = ptr;
    if (block_bytes < h->size) {
        result = shrink(h, size, block_bytes, in_place);
    } else {
        if (map_len > h->mapped && (in_place || !grow(h, map_len, align > HK_UNIT_SIZE ? align : HK_UNIT_SIZE)))
            result = NULL;
        else
            result = h->base;
        if (result != NULL && block_bytes > h->size)
            count_resize(h, block_bytes);
    }
    errno = saved;
    return result;
}

/* ---- giving back ---- */

size_t ace_huge_decay(uint64_t now_ms, uint64_t age_ms)
{
    hk_lock(&huge_lock);
    struct huge *cold = huge_take_older(now_ms, age_ms);
    ace_cap_drop(&cap, huge_waiting());
    bool due = ace_report_due(account, &report, now_ms);
    hk_unlock(&huge_lock);
    if (due)
        ace_report_fire(HK_CLASS_HUGE);
    return huge_unmap(cold);
}

size_t ace_huge_trim(size_t keep)
{
    hk_lock(&huge_lock);
    struct huge *cold = huge_take_beyond_bytes(keep);
    ace_cap_drop(&cap, huge_waiting());
    hk_unlock(&huge_lock);
    return huge_unmap(cold);
}

size_t ace_huge_cached_bytes(void)
{
    return (size_t)atomic_load_relaxed(&hk_account.capacity.huge_cached_bytes);
}

/* ---- life ---- */

void ace_huge_init(void)
{
    ace_cap_init(&cap);
    atomic_store_relaxed(&account->cap_blocks, cap.cap);
}

void ace_huge_before_fork(void)
{
    hk_lock(&huge_lock);
}

void ace_huge_after_fork(bool raw)
{
    if (!raw) {
        hk_unlock(&huge_lock);
        return;
    }
    huge_abandon();
    ace_cap_init(&cap);
    hk_lock_reset(&huge_lock);
}
