/* ace_huge.c - see ace_huge.h. */
#include "ace_huge.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "../probes/probe.h"
#include "ace.h"
#include "ace_account.h"
#include "ace_cap.h"
#include "config.h"
#include "lock.h"
#include "meta.h"
#include "os.h"
#include "outer_map.h"
#include "reclaim.h"

#define HUGE_CAP_MOST 64u                 /* mappings that may wait; also how far a search looks */
#define HUGE_MEMSET_MAX ((size_t)4 << 20) /* above, fresh pages are dearer than zeros only if all are touched */
#define STUCK_TRIES 16u                   /* mappings that decay tries to unmap again at once */

/* While in_use, the owner of the block alone reads and writes it, but in_use; else the huge lock protects it. */
struct huge {
    uint8_t *base;
    size_t size;       /* of the block, in bytes */
    size_t mapped;     /* of the mapping: a multiple of the unit, size at least */
    uint64_t stamp_ms; /* when it was freed */
    struct huge *next, *prev;
    bool in_use;       /* lock: huge */
    bool clean;        /* it reads as zeros */
};

struct huge_list {
    struct huge *head, *tail; /* freed last, freed first */
};

/* All lock: huge. hk_capacity.huge_* are written under it too.
 * stuck: mappings whose pages have gone, but which the kernel would not unmap; h in stuck <=> !h->in_use && h->clean. */
static struct {
    struct hk_lock lock;
    struct huge_list waiting, stuck;
    struct ace_cap cap;
    uint64_t hits;
    struct ace_report report;
} cache;

static struct hk_class_account *account(void)
{
    return &hk_account[HK_CLASS_HUGE];
}

/* What a request gets, be it served here or by a run: a large class's size, above it whole pages. */
static size_t block_bytes_of(size_t size)
{
    if (size <= HK_CACHED_MAX)
        size = HK_CACHED_MAX + 1;
    if (size <= HK_LARGE_MAX)
        return hk_align_up(hk_class_size[hk_class_of_size(size)], os_page_size);
    return hk_align_up(size, os_page_size);
}

/* ---- the list; the lock is held ---- */

static void list_add(struct huge_list *list, struct huge *h)
{
    h->prev = NULL;
    h->next = list->head;
    *(list->head != NULL ? &list->head->prev : &list->tail) = h;
    list->head = h;
}

static void list_remove(struct huge_list *list, struct huge *h)
{
    *(h->prev != NULL ? &h->prev->next : &list->head) = h->next;
    *(h->next != NULL ? &h->next->prev : &list->tail) = h->prev;
}

static uint32_t waiting(void)
{
    return (uint32_t)hk_capacity.huge_cached;
}

static void put(struct huge *h)
{
    list_add(&cache.waiting, h);
    ace_count(&hk_capacity.huge_cached, 1);
    ace_count(&account()->cached_blocks, 1);
    ace_count(&hk_capacity.huge_cached_bytes, h->mapped);
}

static void take(struct huge *h)
{
    if (h->clean) {
        list_remove(&cache.stuck, h);
        return;
    }
    list_remove(&cache.waiting, h);
    ace_uncount(&hk_capacity.huge_cached, 1);
    ace_uncount(&account()->cached_blocks, 1);
    ace_uncount(&hk_capacity.huge_cached_bytes, h->mapped);
}

/* The smallest that serves without wasting more than an eighth; of equals the one freed last. */
static struct huge *best_fit(const struct huge_list *list, size_t map_len, size_t align)
{
    struct huge *best = NULL;
    unsigned looked = 0;
    for (struct huge *h = list->head; h != NULL && looked < HUGE_CAP_MOST; h = h->next, looked++)
        if (h->mapped >= map_len && h->mapped - map_len <= map_len / 8 && ((uintptr_t)h->base & (align - 1)) == 0 &&
            (best == NULL || h->mapped < best->mapped))
            best = h;
    return best;
}

/* Take the coldest out while more than `most` wait. */
static struct huge *take_excess(uint32_t most)
{
    struct huge *excess = NULL;
    while (waiting() > most) {
        struct huge *h = cache.waiting.tail;
        take(h);
        h->next = excess;
        excess = h;
    }
    return excess;
}

static void count_live(size_t bytes)
{
    ace_count(&hk_capacity.huge_blocks, 1);
    ace_count(&hk_capacity.huge_bytes, bytes);
    ace_count_alloc(account(), bytes);
}

/* ---- without the lock ---- */

/* Unmap mappings that were taken out, linked through next. Returns the bytes that may have been resident. */
static size_t unmap_all(struct huge *h)
{
    size_t bytes = 0;
    int saved = errno;
    while (h != NULL) {
        struct huge *next = h->next;
        /* The entry goes first: once unmapped, the addresses may become another thread's. */
        outer_map_clear(h->base, 1);
        if (!h->clean)
            bytes += h->mapped;
        if (os_unmap(h->base, h->mapped, OS_HUGE)) {
            meta_free(h, sizeof *h);
        } else if (outer_map_set(h->base, 1, OUTER_HUGE, h)) {
            hk_lock(&cache.lock);
            h->clean = true;
            h->stamp_ms = os_now_ms();
            list_add(&cache.stuck, h);
            hk_unlock(&cache.lock);
        }
        h = next;
    }
    errno = saved;
    return bytes;
}

static HK_COLD void adapt(uint64_t now)
{
    hk_lock(&cache.lock);
    if (cache.cap.requests < ACE_WINDOW) {
        hk_unlock(&cache.lock);
        return;
    }
    uint32_t target = (uint32_t)hk_config.ace_hit_rate;
    struct ace_cap_move move = ace_cap_adapt(&cache.cap, waiting(), HUGE_CAP_MOST, target);
    struct huge *excess = take_excess(move.to);
    atomic_store_relaxed(&account()->cap_blocks, move.to);
    hk_unlock(&cache.lock);
    if (move.from != move.to)
        HK_PROBE_FIRE(ace_adapt, HK_CLASS_HUGE, move.from, move.to, move.hit_rate, target);
    unmap_all(excess);
    reclaim_decay(now);
}

static void fill_zero(struct huge *h)
{
    int saved = errno;
    if (!h->clean && (h->size <= HUGE_MEMSET_MAX || !os_purge(h->base, h->mapped)))
        memset(h->base, 0, h->size);
    errno = saved;
}

static struct huge *take_cached(size_t block_bytes, size_t map_len, size_t align)
{
    hk_lock(&cache.lock);
    struct huge *h = best_fit(&cache.waiting, map_len, align);
    if (h == NULL)
        h = best_fit(&cache.stuck, map_len, align);
    bool window_full;
    if (h == NULL) {
        window_full = ace_cap_miss(&cache.cap);
    } else {
        take(h);
        h->in_use = true;
        h->size = block_bytes;
        cache.hits++;
        count_live(block_bytes);
        window_full = ace_cap_hit(&cache.cap, waiting());
    }
    hk_unlock(&cache.lock);
    if (window_full)
        adapt(os_now_ms());
    return h;
}

/* A fresh mapping, entered in the outer map. NULL with the kernel's errno. */
static struct huge *map_huge(size_t block_bytes, size_t map_len, size_t align)
{
    if (map_len + align < map_len || map_len + align > PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    struct huge *h = meta_alloc(sizeof *h);
    if (h == NULL)
        return NULL;
    h->base = os_map(map_len, align, OS_HUGE);
    h->size = block_bytes;
    h->mapped = map_len;
    h->in_use = h->clean = true;
    if (h->base != NULL && outer_map_set(h->base, 1, OUTER_HUGE, h))
        return h;
    int error = errno;
    if (h->base == NULL || os_unmap(h->base, map_len, OS_HUGE))
        meta_free(h, sizeof *h);
    errno = error;
    return NULL;
}

/* Account for a mapping that no cache served. */
static void count_fresh(struct huge *h, size_t size)
{
    uint64_t now = os_now_ms();
    reclaim_set_clock(now);
    hk_lock(&cache.lock);
    uint64_t hits = cache.hits;
    cache.hits = 0;
    count_live(h->size);
    ace_count_miss(account(), SERVED_SUPERSLAB, hits);
    uint64_t misses = account()->misses;
    bool report = ace_report_due(account(), &cache.report, now);
    hk_unlock(&cache.lock);
    HK_PROBE_FIRE(fast_miss, HK_CLASS_HUGE, size, SERVED_SUPERSLAB, 1, hits, misses);
    if (report)
        ace_report_fire(HK_CLASS_HUGE);
    reclaim_decay(now);
}

void *ace_huge_alloc(unsigned class_idx, size_t size, size_t align, bool zero, bool cached)
{
    int saved = errno;
    size_t block_bytes = block_bytes_of(size), map_len = hk_align_up(block_bytes, HK_UNIT_SIZE);
    if (align < HK_UNIT_SIZE)
        align = HK_UNIT_SIZE;
    struct huge *h = cached ? take_cached(block_bytes, map_len, align) : NULL;
    if (h == NULL) {
        h = map_huge(block_bytes, map_len, align);
        if (h == NULL) {
            reclaim_everything();
            h = map_huge(block_bytes, map_len, align);
        }
        if (h == NULL) {
            ace_fail(class_idx, size, ACE_MAPFAIL, errno);
            errno = ENOMEM;
            return NULL;
        }
        count_fresh(h, size);
    }
    if (zero)
        fill_zero(h);
    h->clean = false;
    errno = saved;
    return h->base;
}

/* ---- free ---- */

/* Make room for what came last: while there are too many, or too many bytes are free, the coldest go. */
static struct huge *overflow(void)
{
    uint32_t keep = waiting();
    size_t free_bytes = reclaim_free_bytes(), bound = reclaim_bound();
    for (const struct huge *h = cache.waiting.tail; h != cache.waiting.head && free_bytes > bound; h = h->prev) {
        free_bytes -= h->mapped < free_bytes ? h->mapped : free_bytes;
        keep--;
    }
    return take_excess(keep < cache.cap.cap ? keep : cache.cap.cap);
}

bool ace_free_huge(void *owner, void *ptr)
{
    struct huge *h = owner, *excess;
    hk_lock(&cache.lock);
    if (!h->in_use || h->base != ptr) {
        hk_unlock(&cache.lock);
        return false;
    }
    h->in_use = false;
    ace_count_free(account(), h->size);
    ace_uncount(&hk_capacity.huge_blocks, 1);
    ace_uncount(&hk_capacity.huge_bytes, h->size);
    if (h->mapped > hk_config.ace_limit || h->mapped > reclaim_bound() || cache.cap.cap == 0) {
        h->next = NULL;
        excess = h;
    } else {
        h->stamp_ms = os_now_ms();
        put(h);
        excess = overflow();
        ace_cap_put(&cache.cap, waiting());
    }
    hk_unlock(&cache.lock);
    unmap_all(excess);
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
    hk_lock(&cache.lock);
    if (to > h->size) {
        ace_count(&account()->alloc_bytes, to - h->size);
        ace_count(&hk_capacity.huge_bytes, to - h->size);
    } else {
        ace_count(&account()->free_bytes, h->size - to);
        ace_uncount(&hk_capacity.huge_bytes, h->size - to);
    }
    h->size = to;
    hk_unlock(&cache.lock);
}

static void *shrink(struct huge *h, size_t size, size_t block_bytes, bool in_place)
{
    if (!in_place && size <= HK_LARGE_MAX && block_bytes < h->size / 2)
        return NULL;
    size_t map_len = hk_align_up(block_bytes, HK_UNIT_SIZE), tail = h->mapped - map_len;
    count_resize(h, block_bytes);
    if (tail > h->mapped / 8 && os_unmap(h->base + map_len, tail, OS_HUGE))
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

/* The entry of the old addresses goes before they can become another thread's. Its place in the map remains, so that it
 * can be entered again without asking for memory. */
static bool move(struct huge *h, size_t map_len, size_t align)
{
    uint8_t *old = h->base;
    outer_map_clear(old, 1);
    uint8_t *now = os_remap(old, h->mapped, map_len, align);
    if (now != NULL) {
        h->base = now;
        h->mapped = map_len;
    }
    if (!outer_map_set(h->base, 1, OUTER_HUGE, h)) {
        reclaim_everything();
        outer_map_set(h->base, 1, OUTER_HUGE, h);
    }
    return now != NULL;
}

void *ace_resize_huge(void *owner, void *ptr, size_t size, size_t align, bool in_place)
{
    struct huge *h = owner;
    if (ace_usable_huge(h, ptr) == 0)
        return NULL;
    int saved = errno;
    size_t block_bytes = block_bytes_of(size), map_len = hk_align_up(block_bytes, HK_UNIT_SIZE);
    if (align < HK_UNIT_SIZE)
        align = HK_UNIT_SIZE;
    void *result = ptr;
    if (!in_place && size <= HK_LARGE_MAX && size < h->size / 2)
        return NULL; /* a small block serves it; heap_free_sized() counts on it */
    if (block_bytes < h->size) {
        result = shrink(h, size, block_bytes, in_place);
    } else if (map_len > h->mapped) {
        bool moved = !in_place && (move(h, with_headroom(map_len), align) || move(h, map_len, align));
        if (!moved && !in_place) {
            reclaim_everything();
            moved = move(h, map_len, align);
        }
        result = moved ? h->base : NULL;
    }
    if (result != NULL && block_bytes > h->size)
        count_resize(h, block_bytes);
    errno = saved;
    return result;
}

/* ---- giving back ---- */

/* Take those out that are age_ms old, the coldest first, `most` of them: in front of a list. */
static struct huge *take_older(const struct huge_list *list, uint64_t now_ms, uint64_t age_ms, unsigned most,
                               struct huge *first)
{
    struct huge *h;
    while (most-- > 0 && (h = list->tail) != NULL && (age_ms == 0 || h->stamp_ms + age_ms <= now_ms)) {
        take(h);
        h->next = first;
        first = h;
    }
    return first;
}

size_t ace_huge_decay(uint64_t now_ms, uint64_t age_ms)
{
    hk_lock(&cache.lock);
    struct huge *cold = take_older(&cache.waiting, now_ms, age_ms, UINT_MAX, NULL);
    cold = take_older(&cache.stuck, now_ms, age_ms, age_ms == 0 ? UINT_MAX : STUCK_TRIES, cold);
    ace_cap_drop(&cache.cap, waiting());
    bool report = ace_report_due(account(), &cache.report, now_ms);
    hk_unlock(&cache.lock);
    if (report)
        ace_report_fire(HK_CLASS_HUGE);
    return unmap_all(cold);
}

size_t ace_huge_trim(size_t keep)
{
    hk_lock(&cache.lock);
    uint32_t most = waiting();
    size_t bytes = hk_capacity.huge_cached_bytes;
    for (const struct huge *h = cache.waiting.tail; h != NULL && bytes > keep; h = h->prev, most--)
        bytes -= h->mapped;
    struct huge *cold = take_excess(most);
    ace_cap_drop(&cache.cap, waiting());
    hk_unlock(&cache.lock);
    return unmap_all(cold);
}

size_t ace_huge_cached_bytes(void)
{
    return (size_t)atomic_load_relaxed(&hk_capacity.huge_cached_bytes);
}

/* ---- life ---- */

void ace_huge_init(void)
{
    ace_cap_init(&cache.cap);
    atomic_store_relaxed(&account()->cap_blocks, cache.cap.cap);
}

void ace_huge_before_fork(void)
{
    hk_lock(&cache.lock);
}

void ace_huge_after_fork(bool raw)
{
    if (!raw) {
        hk_unlock(&cache.lock);
        return;
    }
    if (hk_lock_is_held(&cache.lock)) {
        cache.waiting = cache.stuck = (struct huge_list){NULL, NULL};
        ace_cap_init(&cache.cap);
        atomic_store_relaxed(&hk_capacity.huge_cached, 0);
        atomic_store_relaxed(&hk_capacity.huge_cached_bytes, 0);
        atomic_store_relaxed(&account()->cached_blocks, 0);
    }
    hk_lock_reset(&cache.lock);
}
