#include "region.h"

#include "account.h"
#include "bin.h"
#include "config.h"
#include "os.h"

#define LEAST_REGION ((uint64_t)16 << 20) /* below it the tables cost more than legacy does */
#define LEAST_DEFAULT ((uint64_t)64 << 30)
#define MOST_DEFAULT ((uint64_t)8 << 40)

uintptr_t region_base;
uintptr_t region_units;
uintptr_t region_reach;
int32_t *region_map;

static bool opened;                   /* any: set once */
static uintptr_t capacity;            /* lock: superslab; SuperSlabs that the reservation has addresses for */
static struct superslab **superslabs; /* by index in the region; any: read without a lock */
static uint64_t *taken;               /* lock: superslab; one bit by index: committed, or given up */
static uintptr_t step = 1;    /* const: after region_init(); one in `step` SuperSlabs is used, from step - 1 on */
static uintptr_t lowest_free; /* lock: superslab; no index below it is free */
static uintptr_t top;         /* lock: superslab */

static uint64_t wanted_size(void)
{
    uint64_t want = hk_config.region;
    if (want == UINT64_MAX) {
        want = os_physical_memory() * 4;
        if (want < LEAST_DEFAULT)
            want = LEAST_DEFAULT;
        if (want > MOST_DEFAULT)
            want = MOST_DEFAULT;
    }
    uint64_t limit = os_address_space_limit();
    if (limit != UINT64_MAX && want > limit / 4)
        want = limit / 4;
    return want < LEAST_REGION ? 0 : hk_align_down(want, HK_SUPERSLAB_SIZE);
}

/* Bytes of them, 0 when they are refused. */
static size_t map_tables(uintptr_t count)
{
    size_t map_len = hk_align_up(count * HK_UNITS_PER_SUPERSLAB * sizeof *region_map, 64);
    size_t table_len = hk_align_up(count * sizeof *superslabs, 64);
    size_t bits_len = hk_align_up((count + 63) / 64 * 8, 64);
    size_t len = hk_align_up(map_len + table_len + bits_len, os_page_size);
    uint8_t *tables = os_map(len, os_page_size, OS_META);
    if (tables == NULL)
        return 0;
    region_map = (int32_t *)(void *)tables;
    superslabs = (struct superslab **)(void *)(tables + map_len);
    taken = (uint64_t *)(void *)(tables + map_len + table_len);
    return len;
}

void region_init(void)
{
    uint64_t size = wanted_size();
    uint8_t *base = NULL;
    while (size >= LEAST_REGION && (base = os_reserve(size, HK_SUPERSLAB_SIZE)) == NULL)
        size = hk_align_down(size / 2, HK_SUPERSLAB_SIZE);
    if (base == NULL)
        return;
    size_t tables = map_tables(size >> HK_SUPERSLAB_SHIFT);
    if (tables == 0) {
        os_unreserve(base, size);
        return;
    }
    step = hk_config.harden != 0 ? 2 : 1; /* those between stay unreadable */
    lowest_free = region_first();
    region_base = (uintptr_t)base;
    capacity = size >> HK_SUPERSLAB_SHIFT;
    hk_account.region = (struct hk_region_account){
        .base = region_base,
        .units = size >> HK_UNIT_SHIFT,
        .map = (uintptr_t)region_map,
        .superslabs = (uintptr_t)superslabs,
        .tables = tables,
    };
}

static void set_units(uintptr_t units)
{
    atomic_store_release(&region_units, units);
    if (atomic_load_relaxed(&opened))
        atomic_store_release(&region_reach, units);
}

void region_open(void)
{
    atomic_store_relaxed(&opened, true);
    set_units(atomic_load_relaxed(&region_units));
}

/* The map's entries of SuperSlabs up to idx are there from now on. */
static void extend(uintptr_t idx)
{
    uintptr_t from = region_units, units = (idx + 1) * HK_UNITS_PER_SUPERSLAB;
    for (uintptr_t unit = from; unit < units; unit++)
        region_map[unit] = (int32_t)hk_bin_at_code(HK_CODE_NONE);
    if (from < units)
        set_units(units);
}

static uintptr_t index_of(const uint8_t *base)
{
    return ((uintptr_t)base - region_base) >> HK_SUPERSLAB_SHIFT;
}

static bool is_taken(uintptr_t idx)
{
    return (taken[idx / 64] >> (idx % 64)) & 1;
}

static void set_taken(uintptr_t idx, uintptr_t count, bool to)
{
    for (uintptr_t i = idx; i < idx + count; i++)
        taken[i / 64] = (taken[i / 64] & ~(UINT64_C(1) << (i % 64))) | (uint64_t)to << (i % 64);
}

enum region_result region_take(uint8_t **base)
{
    uintptr_t idx = lowest_free;
    while (idx < capacity && is_taken(idx))
        idx += step;
    lowest_free = idx;
    if (idx + step > capacity) /* nor is the last one used */
        return REGION_FULL;
    uint8_t *ptr = (uint8_t *)region_base + (idx << HK_SUPERSLAB_SHIFT);
    if (!os_commit(ptr, HK_SUPERSLAB_SIZE, OS_SUPERSLAB))
        return REGION_REFUSED;
    set_taken(idx, 1, true);
    if (top <= idx)
        top = idx + 1;
    extend(idx);
    *base = ptr;
    return REGION_OK;
}

bool region_give(uint8_t *base, unsigned count)
{
    if (!os_decommit(base, (size_t)count << HK_SUPERSLAB_SHIFT, OS_SUPERSLAB))
        return false;
    uintptr_t idx = index_of(base);
    if (lowest_free > idx)
        lowest_free = idx;
    set_taken(idx, count, false);
    while (top > 0 && !is_taken(top - 1))
        top--;
    return true;
}

static bool unreserve(uintptr_t from, uintptr_t to)
{
    return os_unreserve((uint8_t *)region_base + (from << HK_SUPERSLAB_SHIFT), (to - from) << HK_SUPERSLAB_SHIFT);
}

static bool shrink_top(void)
{
    uintptr_t end = capacity, left = top + region_first();
    if (left >= end)
        return false;
    /* The index goes out of bounds before the addresses can become somebody else's. */
    capacity = left;
    if (region_units > left * HK_UNITS_PER_SUPERSLAB)
        set_units(left * HK_UNITS_PER_SUPERSLAB);
    if (unreserve(left, end))
        return true;
    capacity = end;
    return false;
}

/* What lies between SuperSlabs, but in hardened mode for one on either side, which keeps them apart. The slab map has HK_CODE_NONE
 * there, whoever comes to use the addresses. */
static bool give_up_holes(void)
{
    uintptr_t apart = step - 1;
    bool any = false;
    for (uintptr_t idx = 0, end; idx < top; idx = end + 1) {
        for (end = idx; end < top && !is_taken(end); end++)
            continue;
        if (end - idx <= 2 * apart)
            continue;
        uintptr_t from = idx + apart, count = end - idx - 2 * apart;
        set_taken(from, count, true);
        bool gone = unreserve(from, from + count);
        if (!gone)
            set_taken(from, count, false);
        any |= gone;
    }
    return any;
}

bool region_shrink(void)
{
    bool shrunk = shrink_top();
    return give_up_holes() || shrunk;
}

struct superslab *region_superslab(uintptr_t idx)
{
    if (idx >= atomic_load_relaxed(&region_units) / HK_UNITS_PER_SUPERSLAB)
        return NULL;
    return atomic_load_acquire(&superslabs[idx]); /* pairs with region_set_superslab() */
}

void region_set_superslab(uint8_t *base, struct superslab *ss)
{
    atomic_store_release(&superslabs[index_of(base)], ss);
}

uintptr_t region_first(void)
{
    return step - 1;
}

uintptr_t region_top(void)
{
    return top;
}
