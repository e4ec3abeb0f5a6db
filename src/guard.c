#include "guard.h"

#include <errno.h>
#include <string.h>

#include "guard_fault.h"
#include "lock.h"
#include "os.h"
#include "size_class.h"

#define PER_SECOND 20u /* a guarded block costs up to 90 us, cold: below half a per cent of a processor in all */
#define BURST 16u
#define PATTERN 0x9d

uintptr_t guard_base;
struct guard_slot *guard_slots;

static struct hk_lock guard_lock = HK_LOCK_FREE;
static uint16_t queue[GUARD_UNITS]; /* lock: guard; units whose slots are free, the one freed first at queue_first */
static unsigned queue_first, queued;
static uint32_t allowed = BURST; /* lock: guard */
static uint64_t allowed_ms;      /* lock: guard; when it was counted */
static uint32_t live[HK_CACHED_CLASSES];
static uint64_t guarded; /* any: running total */

static void enqueue(unsigned unit)
{
    queue[(queue_first + queued++) % GUARD_UNITS] = (uint16_t)unit;
}

static bool set_up(void)
{
    size_t bytes = hk_align_up(GUARD_UNITS * sizeof *guard_slots, os_page_size);
    struct guard_slot *slots = os_map(bytes, os_page_size, OS_META);
    char *base = slots != NULL ? os_reserve((size_t)GUARD_UNITS << HK_UNIT_SHIFT, HK_UNIT_SIZE) : NULL;
    if (base == NULL) {
        if (slots != NULL)
            os_unmap(slots, bytes, OS_META);
        return false;
    }
    for (unsigned unit = 1; unit < GUARD_UNITS; unit++)
        enqueue(unit);
    guard_slots = slots;
    atomic_store_release(&guard_base, (uintptr_t)base);
    return true;
}

static bool is_allowed(void)
{
    uint64_t now_ms = os_now_ms(), more = (now_ms - allowed_ms) * PER_SECOND / 1000;
    if (more > 0) {
        allowed = allowed + more < BURST ? (uint32_t)(allowed + more) : BURST;
        allowed_ms = now_ms;
    }
    return allowed > 0;
}

/* A slot, the caller's alone; NULL when none may be had. */
static struct guard_slot *take_slot(void)
{
    struct guard_slot *slot = NULL;
    if (!hk_try_lock(&guard_lock))
        return NULL;
    if (is_allowed() && (guard_base != 0 || set_up()) && queued > 0) {
        slot = &guard_slots[queue[queue_first]];
        queue_first = (queue_first + 1) % GUARD_UNITS;
        queued--;
        allowed--;
        atomic_store_relaxed(&slot->state, GUARD_BUSY);
    }
    hk_unlock(&guard_lock);
    return slot;
}

static void return_slot(struct guard_slot *slot, enum guard_state state)
{
    atomic_store_release(&slot->state, state);
    hk_lock(&guard_lock);
    enqueue((unsigned)(slot - guard_slots));
    hk_unlock(&guard_lock);
}

static char *data_of(const struct guard_slot *slot)
{
    return (char *)guard_base + ((size_t)(slot - guard_slots) << HK_UNIT_SHIFT);
}

static char *from_of(const struct guard_slot *slot)
{
    return (char *)hk_align_down((uintptr_t)slot->block, os_page_size);
}

static char *to_of(const struct guard_slot *slot)
{
    return (char *)hk_align_up((uintptr_t)slot->block + slot->size, os_page_size);
}

/* At the end of the data, where an overflow meets the guard, three times of four; else at its start. */
static char *place(const struct guard_slot *slot, unsigned class_idx, size_t size)
{
    size_t natural = hk_class_size[class_idx] & (0u - hk_class_size[class_idx]);
    size_t align = size == hk_class_size[class_idx] ? natural : HK_ALIGNMENT;
    return atomic_load_relaxed(&guarded) % 4 == 3 ? data_of(slot)
                                                  : data_of(slot) + HK_CACHED_MAX - hk_align_up(size, align);
}

void *guard_alloc(unsigned class_idx, size_t size, const void *caller)
{
    int saved = errno;
    struct guard_slot *slot = size != 0 ? take_slot() : NULL;
    if (slot == NULL) {
        errno = saved;
        return NULL;
    }
    slot->block = place(slot, class_idx, size);
    slot->size = (uint32_t)size;
    slot->class_idx = class_idx;
    slot->freed.depth = 0;
    char *from = from_of(slot), *to = to_of(slot), *end = slot->block + size;
    if (!os_commit(from, (size_t)(to - from), OS_GUARD)) {
        return_slot(slot, GUARD_EMPTY);
        errno = saved;
        return NULL;
    }
    memset(from, PATTERN, (size_t)(slot->block - from));
    memset(end, PATTERN, (size_t)(to - end));
    trace_take(&slot->allocated, (uintptr_t)caller, false);
    guard_catch_faults();
    atomic_add_relaxed(&live[class_idx], 1);
    char *block = slot->block;
    atomic_store_release(&slot->state, GUARD_LIVE);
    uint64_t total = atomic_add_relaxed(&guarded, 1) + 1;
    HK_PROBE_FIRE(guard_alloc, block, size, total);
    errno = saved;
    return block;
}

struct guard_slot *guard_find(const void *ptr)
{
    uintptr_t base = atomic_load_acquire(&guard_base), unit = ((uintptr_t)ptr - base) >> HK_UNIT_SHIFT;
    return base != 0 && unit < GUARD_UNITS ? &guard_slots[unit] : NULL;
}

size_t guard_size(const struct guard_slot *slot, const void *ptr)
{
    return atomic_load_acquire(&slot->state) == GUARD_LIVE && ptr == slot->block ? slot->size : 0;
}

/* No live block starts at ptr; foreign where the slot never held one. */
static enum misuse_kind kind_of(const struct guard_slot *slot, const void *ptr, enum misuse_kind twice,
                                enum misuse_kind interior, enum misuse_kind foreign)
{
    return slot->block == NULL ? foreign : ptr == slot->block ? twice : interior;
}

size_t guard_live_size(struct guard_slot *slot, const void *ptr, enum misuse_kind twice, enum misuse_kind interior,
                       enum misuse_kind foreign)
{
    size_t size = guard_size(slot, ptr);
    if (size == 0)
        guard_abort(slot, kind_of(slot, ptr, twice, interior, foreign), ptr, NULL);
    return size;
}

static bool is_pattern(const char *from, const char *to)
{
    while (from < to && *(const uint8_t *)from == PATTERN)
        from++;
    return from >= to;
}

unsigned guard_free(struct guard_slot *slot, void *ptr, const void *caller)
{
    uint32_t expected = GUARD_LIVE;
    int saved = errno;
    if (ptr != slot->block || !atomic_cas_acq_rel(&slot->state, &expected, GUARD_BUSY))
        guard_abort(slot, kind_of(slot, ptr, MISUSE_DOUBLE_FREE, MISUSE_INTERIOR_FREE, MISUSE_FOREIGN_FREE), ptr,
                    caller);
    char *from = from_of(slot), *to = to_of(slot);
    if (!is_pattern(from, slot->block))
        guard_abort(slot, MISUSE_UNDERFLOW, ptr, caller);
    if (!is_pattern(slot->block + slot->size, to))
        guard_abort(slot, MISUSE_OVERFLOW, ptr, caller);
    trace_take(&slot->freed, (uintptr_t)caller, false);
    unsigned class_idx = slot->class_idx;
    atomic_sub_relaxed(&live[class_idx], 1);
    atomic_store_release(&slot->state, GUARD_FREED); /* before the pages go, for whoever touches them then */
    if (!os_decommit(from, (size_t)(to - from), OS_GUARD))
        os_purge(from, (size_t)(to - from));
    return_slot(slot, GUARD_FREED);
    errno = saved;
    return class_idx;
}

uint32_t guard_live(unsigned class_idx)
{
    return atomic_load_relaxed(&live[class_idx]);
}

void guard_before_fork(void)
{
    hk_lock(&guard_lock);
}

/* The child of a raw clone leaves alone what another thread was changing: it has no free slot more. */
void guard_after_fork(bool raw_child)
{
    if (!raw_child) {
        hk_unlock(&guard_lock);
        return;
    }
    if (hk_lock_is_held(&guard_lock))
        queued = 0;
    hk_lock_reset(&guard_lock);
}
