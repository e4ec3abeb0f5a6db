/* statistics.c - the numbers, and the two texts made of them. */
#include "statistics.h"

#include "account.h"
#include "ace.h"
#include "os.h"
#include "superslab.h"
#include "thread_cache.h"

#include <string.h>

/* Counts of other threads are settled at different moments, so a difference may be below zero for a while. */
static uint64_t difference(uint64_t plus, uint64_t minus)
{
    return plus > minus ? plus - minus : 0;
}

static uint64_t sum_of(const uint64_t *counts, unsigned n)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += atomic_load_relaxed(&counts[i]);
    return sum;
}

static void read_class(unsigned class_idx, struct hk_class_stats *out)
{
    struct hk_class_account *a = &hk_account.classes[class_idx];
    uint64_t frees =
        atomic_load_relaxed(&a->frees); /* before allocs, so that a race shows more live blocks, not fewer */
    uint64_t free_bytes = atomic_load_relaxed(&a->free_bytes);

    *out = (struct hk_class_stats){.version = HK_STATS_VERSION, .length = sizeof *out, .class_idx = class_idx};
    out->block_size = hk_class_size[class_idx];
    out->frees = frees;
    out->allocs = atomic_load_relaxed(&a->allocs);
    out->misses = atomic_load_relaxed(&a->misses);
    out->live_blocks = difference(atomic_load_relaxed(&a->inherited) + out->allocs, frees);
    out->live_bytes =
        difference(atomic_load_relaxed(&a->inherited_bytes) + atomic_load_relaxed(&a->alloc_bytes), free_bytes);
    out->pool_blocks = atomic_load_relaxed(&a->cached_blocks);
    out->pool_cap_blocks = atomic_load_relaxed(&a->cap_blocks);
    out->slabs = atomic_load_relaxed(&a->slabs);
    if (class_idx == HK_CLASS_HUGE)
        out->free_blocks = atomic_load_relaxed(&hk_account.capacity.huge_cached);
    else
        out->free_blocks = difference(atomic_load_relaxed(&a->slab_blocks), out->live_blocks);
    out->refills = sum_of(a->refills, HK_SERVERS);
    out->refills_held = atomic_load_relaxed(&a->refills[SERVED_CHAIN]) + atomic_load_relaxed(&a->refills[SERVED_SLAB]);
    out->drains = sum_of(a->drains, HK_DRAIN_REASONS);
    out->drain_blocks = sum_of(a->drain_blocks, HK_DRAIN_REASONS);
    out->fallbacks = sum_of(a->shared_fails, HK_SHARED_FAILS);
    for (unsigned i = 0; i < HK_ACE_FAILS; i++)
        out->ace_fails[i] = atomic_load_relaxed(&a->ace_fails[i]);
    out->alloc_fails = atomic_load_relaxed(&a->alloc_fails);
}

static void add_class(struct hk_stats *total, const struct hk_class_stats *c)
{
    total->allocs += c->allocs;
    total->frees += c->frees;
    total->misses += c->misses;
    total->live_blocks += c->live_blocks;
    total->live_bytes += c->live_bytes;
    total->free_blocks += c->free_blocks;
    total->pool_blocks += c->pool_blocks;
    total->pool_bytes += c->pool_blocks * c->block_size;
    total->fallbacks += c->fallbacks;
    for (unsigned i = 0; i < HK_ACE_FAILS; i++)
        total->ace_fails[i] += c->ace_fails[i];
    total->alloc_fails += c->alloc_fails;
    if (c->class_idx == HK_CLASS_HUGE) {
        total->huge_blocks = c->live_blocks;
        total->huge_bytes = c->live_bytes;
    }
}

/* What no class knows, once all classes have been added. */
static void add_capacity(struct hk_stats *total)
{
    total->version = HK_STATS_VERSION;
    total->length = sizeof *total;
    total->generation = account_generation();
    total->pool_bytes += atomic_load_relaxed(&hk_account.capacity.huge_cached_bytes);
    total->trimmable_bytes = superslab_dirty_bytes() + ace_cached_bytes();
    total->mapped_bytes = atomic_load_relaxed(&os_account.mapped);
    total->mapped_peak_bytes = atomic_load_relaxed(&os_account.mapped_peak);
    total->reserved_bytes = atomic_load_relaxed(&os_account.reserved);
    total->meta_bytes = atomic_load_relaxed(&os_account.meta);
    total->purged_bytes = atomic_load_relaxed(&os_account.purged);
    total->superslabs = atomic_load_relaxed(&hk_account.capacity.superslabs);
    total->legacy_chunks = atomic_load_relaxed(&hk_account.capacity.legacy_chunks);
    total->threads = atomic_load_relaxed(&hk_account.capacity.threads);
    total->free_bytes = difference(total->mapped_bytes, total->live_bytes + total->meta_bytes);
    if (total->trimmable_bytes > total->free_bytes)
        total->trimmable_bytes = total->free_bytes;
    if (total->pool_bytes > total->free_bytes)
        total->pool_bytes = total->free_bytes;
    /* Blocks that were counted after the mappings were read lie in mappings made meanwhile. */
    total->mapped_bytes = total->live_bytes + total->free_bytes + total->meta_bytes;
    if (total->mapped_peak_bytes < total->mapped_bytes)
        total->mapped_peak_bytes = total->mapped_bytes;
}

void statistics_of_class(unsigned class_idx, struct hk_class_stats *out)
{
    cache_settle_all();
    read_class(class_idx, out);
}

void statistics_of_process(struct hk_stats *out)
{
    struct hk_class_stats c;
    cache_settle_all();
    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < HK_ACCOUNT_CLASSES; i++) {
        read_class(i, &c);
        add_class(out, &c);
    }
    add_capacity(out);
}

/* ---- texts: a line is built on the stack, then handed to the sink ---- */

struct line {
    char text[480];
    size_t len;
};

static void put(struct line *line, const char *text)
{
    size_t len = strlen(text);
    if (len > sizeof line->text - 1 - line->len)
        len = sizeof line->text - 1 - line->len;
    memcpy(line->text + line->len, text, len);
    line->len += len;
    line->text[line->len] = '\0';
}

/* n in decimal, right-aligned in `width` columns. */
static void put_number(struct line *line, uint64_t n, unsigned width)
{
    char digits[48];
    unsigned i = sizeof digits - 1;
    digits[i] = '\0';
    do
        digits[--i] = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    while (i > 0 && sizeof digits - 1 - i < width)
        digits[--i] = ' ';
    put(line, digits + i);
}

static void put_attribute(struct line *line, const char *name, uint64_t n)
{
    put(line, " ");
    put(line, name);
    put(line, "=\"");
    put_number(line, n, 0);
    put(line, "\"");
}

static bool flush(struct line *line, statistics_sink sink, void *arg)
{
    bool written = sink(arg, line->text, line->len);
    line->len = 0;
    return written;
}

/* Tenths of a per cent of allocations that a cache served. */
static unsigned hit_rate_permille(uint64_t allocs, uint64_t misses)
{
    if (allocs == 0)
        return 0;
    uint64_t hits = difference(allocs, misses);
    return (unsigned)(hits > UINT64_MAX / 1000 ? hits / (allocs / 1000) : hits * 1000 / allocs);
}

static void put_rate(struct line *line, uint64_t allocs, uint64_t misses, unsigned width)
{
    unsigned permille = hit_rate_permille(allocs, misses);
    put_number(line, permille / 10, width > 2 ? width - 2 : 0);
    put(line, ".");
    put_number(line, permille % 10, 0);
}

static bool is_used(const struct hk_class_stats *c)
{
    return c->allocs != 0 || c->frees != 0 || c->live_blocks != 0 || c->slabs != 0 || c->alloc_fails != 0;
}

static bool xml_class(const struct hk_class_stats *c, statistics_sink sink, void *arg)
{
    struct line line = {.len = 0};
    put(&line, "<class");
    put_attribute(&line, "index", c->class_idx);
    put_attribute(&line, "size", c->block_size);
    put_attribute(&line, "allocs", c->allocs);
    put_attribute(&line, "frees", c->frees);
    put_attribute(&line, "misses", c->misses);
    put(&line, " hit_rate=\"");
    put_rate(&line, c->allocs, c->misses, 0);
    put(&line, "\"");
    put_attribute(&line, "live_blocks", c->live_blocks);
    put_attribute(&line, "live_bytes", c->live_bytes);
    put_attribute(&line, "free_blocks", c->free_blocks);
    put_attribute(&line, "slabs", c->slabs);
    if (!flush(&line, sink, arg))
        return false;
    put_attribute(&line, "refills", c->refills);
    put_attribute(&line, "refills_held", c->refills_held);
    put_attribute(&line, "drains", c->drains);
    put_attribute(&line, "drain_blocks", c->drain_blocks);
    put_attribute(&line, "fallbacks", c->fallbacks);
    put_attribute(&line, "threshold", c->ace_fails[ACE_THRESHOLD]);
    put_attribute(&line, "exhaustion", c->ace_fails[ACE_EXHAUSTION]);
    put_attribute(&line, "mapfail", c->ace_fails[ACE_MAPFAIL]);
    put_attribute(&line, "alloc_fails", c->alloc_fails);
    put(&line, "/>\n");
    return flush(&line, sink, arg);
}

static bool xml_total(const char *type, uint64_t count, uint64_t size, statistics_sink sink, void *arg)
{
    struct line line = {.len = 0};
    put(&line, "<total type=\"");
    put(&line, type);
    put(&line, "\"");
    put_attribute(&line, "count", count);
    put_attribute(&line, "size", size);
    put(&line, "/>\n");
    return flush(&line, sink, arg);
}

static bool xml_size(const char *element, const char *type, uint64_t size, statistics_sink sink, void *arg)
{
    struct line line = {.len = 0};
    put(&line, "<");
    put(&line, element);
    put(&line, " type=\"");
    put(&line, type);
    put(&line, "\"");
    put_attribute(&line, "size", size);
    put(&line, "/>\n");
    return flush(&line, sink, arg);
}

static bool xml_totals(const struct hk_stats *t, statistics_sink sink, void *arg)
{
    struct line line = {.len = 0};
    put(&line, "<operations");
    put_attribute(&line, "allocs", t->allocs);
    put_attribute(&line, "frees", t->frees);
    put_attribute(&line, "misses", t->misses);
    put(&line, " hit_rate=\"");
    put_rate(&line, t->allocs, t->misses, 0);
    put(&line, "\"");
    put_attribute(&line, "fallbacks", t->fallbacks);
    put_attribute(&line, "alloc_fails", t->alloc_fails);
    put(&line, "/>\n");
    if (!flush(&line, sink, arg))
        return false;
    put(&line, "<capacity");
    put_attribute(&line, "superslabs", t->superslabs);
    put_attribute(&line, "legacy_chunks", t->legacy_chunks);
    put_attribute(&line, "threads", t->threads);
    put(&line, "/>\n");
    return flush(&line, sink, arg) && xml_total("live", t->live_blocks, t->live_bytes, sink, arg) &&
           xml_total("free", t->free_blocks, t->free_bytes, sink, arg) &&
           xml_total("pool", t->pool_blocks, t->pool_bytes, sink, arg) &&
           xml_total("mmap", t->huge_blocks, t->huge_bytes, sink, arg) &&
           xml_size("system", "current", t->mapped_bytes, sink, arg) &&
           xml_size("system", "max", t->mapped_peak_bytes, sink, arg) &&
           xml_size("system", "meta", t->meta_bytes, sink, arg) &&
           xml_size("system", "trimmable", t->trimmable_bytes, sink, arg) &&
           xml_size("aspace", "reserved", t->reserved_bytes, sink, arg);
}

bool statistics_write_xml(statistics_sink sink, void *arg)
{
    struct hk_stats total = {.version = 0};
    struct hk_class_stats c;
    struct line line = {.len = 0};

    cache_settle_all();
    put(&line, "<malloc version=\"1\" allocator=\"hakmem\" release=\"" HK_VERSION "\"");
    put_attribute(&line, "generation", account_generation());
    put(&line, ">\n<classes>\n");
    if (!flush(&line, sink, arg))
        return false;
    for (unsigned i = 0; i < HK_ACCOUNT_CLASSES; i++) {
        read_class(i, &c);
        add_class(&total, &c);
        if (is_used(&c) && !xml_class(&c, sink, arg))
            return false;
    }
    add_capacity(&total);
    put(&line, "</classes>\n");
    if (!flush(&line, sink, arg) || !xml_totals(&total, sink, arg))
        return false;
    put(&line, "</malloc>\n");
    return flush(&line, sink, arg);
}

static bool table_class(const struct hk_class_stats *c, statistics_sink sink, void *arg)
{
    struct line line = {.len = 0};
    if (c->block_size != 0)
        put_number(&line, c->block_size, 9);
    else
        put(&line, "     huge");
    put_number(&line, c->live_blocks, 12);
    put_number(&line, c->live_bytes, 15);
    put_number(&line, c->allocs, 15);
    put_rate(&line, c->allocs, c->misses, 7);
    put_number(&line, c->misses, 12);
    put_number(&line, c->drains, 10);
    put_number(&line, c->slabs, 9);
    put_number(&line, c->fallbacks, 10);
    put(&line, "\n");
    return flush(&line, sink, arg);
}

static bool table_totals(const struct hk_stats *t, statistics_sink sink, void *arg)
{
    const struct {
        const char *label;
        uint64_t value;
    } rows[] = {
        {"live bytes         ", t->live_bytes},
        {"free bytes         ", t->free_bytes},
        {"metadata bytes     ", t->meta_bytes},
        {"mapped bytes       ", t->mapped_bytes},
        {"mapped at most     ", t->mapped_peak_bytes},
        {"trimmable bytes    ", t->trimmable_bytes},
        {"allocations        ", t->allocs},
        {"frees              ", t->frees},
        {"cache misses       ", t->misses},
        {"fallbacks to legacy", t->fallbacks},
        {"failed             ", t->alloc_fails},
        {"threads            ", t->threads},
    };
    struct line line = {.len = 0};
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        put(&line, rows[i].label);
        put_number(&line, rows[i].value, 18);
        put(&line, "\n");
        if (!flush(&line, sink, arg))
            return false;
    }
    return true;
}

bool statistics_write_table(statistics_sink sink, void *arg)
{
    static const char heading[] =
        "    class live blocks     live bytes         allocs  hits %      misses    drains    slabs fallbacks\n";
    struct hk_stats total = {.version = 0};
    struct hk_class_stats c;

    cache_settle_all();
    if (!sink(arg, heading, sizeof heading - 1))
        return false;
    for (unsigned i = 0; i < HK_ACCOUNT_CLASSES; i++) {
        read_class(i, &c);
        add_class(&total, &c);
        if (is_used(&c) && !table_class(&c, sink, arg))
            return false;
    }
    add_capacity(&total);
    return table_totals(&total, sink, arg);
}
