/* ace_huge_cache.c - see ace_huge_cache.h. */
#include "ace_huge_cache.h"

#include <errno.h>
#include <limits.h>

#include "ace_account.h"
#include "meta.h"
#include "os.h"
#include "outer_map.h"
#include "reclaim.h"

#define LOOKS 64u       /* how far a search goes */
#define STUCK_TRIES 16u /* mappings that decay tries to unmap again at once */

struct huge_list {
    struct huge *head, *tail; /* freed last, freed first */
};

struct hk_lock huge_lock = HK_LOCK_FREE;
static struct huge_list waiting_list, stuck_list; /* lock: huge */
static uint64_t origins;                          /* any: how many kernel mappings there have been */

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

/* ---- mappings ---- */

static uint64_t new_origin(void)
{
    return atomic_add_relaxed(&origins, 1) + 1;
}

struct huge *huge_map(size_t map_len, size_t align)
{
    if (map_len > PTRDIFF_MAX || align > PTRDIFF_MAX - map_len) {
        errno = ENOMEM;
        return NULL;
    }
    struct huge *h = meta_alloc(sizeof *h);
    if (h == NULL)
        return NULL;
    h->base = os_map(map_len, align, OS_HUGE);
    h->mapped = map_len;
    h->origin = new_origin();
    h->in_use = h->clean = true;
    if (h->base != NULL && outer_map_set(h->base, 1, OUTER_HUGE, h))
        return h;
    int error = errno;
    if (h->base == NULL || os_unmap(h->base, map_len, OS_HUGE))
        meta_free(h, sizeof *h);
    errno = error;
    return NULL;
}

/* A target that can be entered in the outer map whatever happens: once pages have moved, it is too late for a refusal. */
static uint8_t *known_target(size_t map_len, size_t align)
{
    uint8_t *target = os_target(map_len, align);
    if (target != NULL && !outer_map_reserve(target)) {
        int error = errno;
        os_drop_target(target, map_len);
        errno = error;
        return NULL;
    }
    return target;
}

struct huge *huge_map_moved(void *ptr, size_t len, size_t map_len, size_t align)
{
    struct huge *h = meta_alloc(sizeof *h);
    if (h == NULL)
        return NULL;
    uint8_t *target = known_target(map_len, align);
    if (target == NULL || !os_move_pages(ptr, len, target, map_len)) {
        meta_free(h, sizeof *h);
        return NULL;
    }
    h->base = target;
    h->mapped = map_len;
    h->origin = new_origin();
    atomic_store_relaxed(&h->in_use, true);
    outer_map_set(target, 1, OUTER_HUGE, h);
    return h;
}

bool huge_remap(struct huge *h, size_t map_len, size_t align)
{
    if (os_grow(h->base, h->mapped, map_len)) {
        h->mapped = map_len;
        return true;
    }
    uint8_t *target = known_target(map_len, align);
    if (target == NULL)
        return false;
    /* The entry goes before the old addresses can become another thread's. */
    outer_map_clear(h->base, 1);
    bool moved = os_move(h->base, h->mapped, target, map_len);
    if (moved) {
        h->base = target;
        h->mapped = map_len;
        h->origin = new_origin();
    }
    outer_map_set(h->base, 1, OUTER_HUGE, h);
    return moved;
}

void huge_split(struct huge *h, size_t map_len)
{
    int saved = errno;
    struct huge *rest = meta_alloc(sizeof *rest);
    if (rest == NULL || !outer_map_set(h->base + map_len, 1, OUTER_HUGE, rest)) {
        if (rest != NULL)
            meta_free(rest, sizeof *rest);
        errno = saved;
        return; /* h keeps it */
    }
    *rest = (struct huge){.base = h->base + map_len, .mapped = h->mapped - map_len};
    rest->origin = h->origin;
    rest->stamp_ms = h->stamp_ms;
    h->mapped = map_len;
    hk_lock(&huge_lock);
    huge_put(rest);
    hk_unlock(&huge_lock);
    errno = saved;
}

size_t huge_unmap(struct huge *h)
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
            h->clean = os_purge(h->base, h->mapped); /* os_unmap() tried, but does not tell */
            hk_lock(&huge_lock);
            h->stuck = true;
            h->stamp_ms = os_now_ms();
            list_add(&stuck_list, h);
            hk_unlock(&huge_lock);
        }
        h = next;
    }
    errno = saved;
    return bytes;
}

/* ---- the lists ---- */

uint32_t huge_waiting(void)
{
    return (uint32_t)hk_account.capacity.huge_cached;
}

static void take(struct huge *h)
{
    if (h->stuck) {
        list_remove(&stuck_list, h);
        h->stuck = false;
        return;
    }
    list_remove(&waiting_list, h);
    ace_uncount(&hk_account.capacity.huge_cached, 1);
    ace_uncount(&hk_account.classes[HK_CLASS_HUGE].cached_blocks, 1);
    ace_uncount(&hk_account.capacity.huge_cached_bytes, h->mapped);
}

/* `part` lies behind h or before it: h becomes both, part is no more. */
static void merge(struct huge *h, struct huge *part)
{
    take(part);
    outer_map_clear(part->base, 1);
    if (part->base < h->base) {
        outer_map_clear(h->base, 1);
        h->base = part->base;
        outer_map_set(h->base, 1, OUTER_HUGE, h); /* part's place: no memory is needed */
    }
    h->mapped += part->mapped;
    meta_free(part, sizeof *part);
}

void huge_put(struct huge *h)
{
    unsigned looked = 0;
    for (struct huge *part = waiting_list.head, *next; part != NULL && looked < LOOKS; part = next, looked++) {
        next = part->next;
        if (part->origin == h->origin && (part->base + part->mapped == h->base || h->base + h->mapped == part->base))
            merge(h, part);
    }
    list_add(&waiting_list, h);
    ace_count(&hk_account.capacity.huge_cached, 1);
    ace_count(&hk_account.classes[HK_CLASS_HUGE].cached_blocks, 1);
    ace_count(&hk_account.capacity.huge_cached_bytes, h->mapped);
}

static struct huge *shortest_of(const struct huge_list *list, size_t map_len, size_t align)
{
    struct huge *best = NULL;
    unsigned looked = 0;
    for (struct huge *h = list->head; h != NULL && looked < LOOKS; h = h->next, looked++)
        if (h->mapped >= map_len && ((uintptr_t)h->base & (align - 1)) == 0 &&
            (best == NULL || h->mapped < best->mapped))
            best = h;
    return best;
}

struct huge *huge_take_fit(size_t map_len, size_t align)
{
    struct huge *h = shortest_of(&waiting_list, map_len, align);
    if (h == NULL)
        h = shortest_of(&stuck_list, map_len, align);
    if (h != NULL)
        take(h);
    return h;
}

struct huge *huge_take_part(size_t map_len, size_t align)
{
    struct huge *best = NULL;
    unsigned looked = 0;
    for (struct huge *h = waiting_list.head; h != NULL && looked < LOOKS; h = h->next, looked++)
        if (h->mapped < map_len && ((uintptr_t)h->base & (align - 1)) == 0 &&
            (best == NULL || h->mapped > best->mapped))
            best = h;
    if (best == NULL || best->mapped < map_len / 8)
        return NULL;
    take(best);
    return best;
}

static struct huge *take_tail(const struct huge_list *list, struct huge *first)
{
    struct huge *h = list->tail;
    take(h);
    h->next = first;
    return h;
}

struct huge *huge_take_beyond(uint32_t most)
{
    struct huge *first = NULL;
    while (huge_waiting() > most)
        first = take_tail(&waiting_list, first);
    return first;
}

struct huge *huge_take_beyond_bytes(size_t bytes)
{
    struct huge *first = NULL;
    while (hk_account.capacity.huge_cached_bytes > bytes)
        first = take_tail(&waiting_list, first);
    return first;
}

static bool is_older(const struct huge *h, uint64_t now_ms, uint64_t age_ms)
{
    return h != NULL && os_is_aged(h->stamp_ms, now_ms, age_ms);
}

struct huge *huge_take_older(uint64_t now_ms, uint64_t age_ms)
{
    struct huge *first = NULL;
    while (is_older(waiting_list.tail, now_ms, age_ms))
        first = take_tail(&waiting_list, first);
    for (unsigned tries = age_ms == 0 ? UINT_MAX : STUCK_TRIES; tries != 0 && is_older(stuck_list.tail, now_ms, age_ms);
         tries--)
        first = take_tail(&stuck_list, first);
    return first;
}

uint32_t huge_waiting_without(size_t bytes)
{
    uint32_t left = huge_waiting();
    size_t gone = 0;
    for (const struct huge *h = waiting_list.tail; h != waiting_list.head && gone < bytes; h = h->prev, left--)
        gone += h->mapped;
    return left;
}

void huge_abandon(void)
{
    waiting_list = stuck_list = (struct huge_list){NULL, NULL};
    atomic_store_relaxed(&hk_account.capacity.huge_cached, 0);
    atomic_store_relaxed(&hk_account.capacity.huge_cached_bytes, 0);
    atomic_store_relaxed(&hk_account.classes[HK_CLASS_HUGE].cached_blocks, 0);
}
