#include "footprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "footprint_slab.h"
#include "memory.h"
#include "process_account.h"
#include "src/layout.h"

#define SUPERSLABS_MOST ((uint64_t)1 << 22) /* 8 TiB */
#define CHUNKS_MOST 1000000u
#define UNREADABLE_MOST 65536u /* tables that tell so much that can't be are not followed further */
#define ADDRESSES_MOST ((uint64_t)1 << 56)
#define NO_THREAD UINT32_MAX

const struct footprint_row_text footprint_rows[FOOTPRINT_ROWS] = {
#define FOOTPRINT_ROW(name, title, whose, meaning) {#name, title, meaning, FOOTPRINT_##whose},
#include "footprint.def"
#undef FOOTPRINT_ROW
};

/* What is at hand while a footprint is read. */
struct look {
    struct address_space *space;
    struct footprint *footprint;
    const struct hk_process_account *account;
    struct held_blocks held;
    uint32_t main_thread; /* index, or NO_THREAD */
    uint64_t claimed;     /* bytes that a row has */
    uint64_t resident;    /* bytes in all */
};

/* ---- claims ---- */

/* Tables that were overwritten may lead anywhere, and round and round. They end where they claim more than there is. */
static bool is_absurd(const struct look *look)
{
    return look->claimed > look->resident || look->footprint->unreadable > UNREADABLE_MOST;
}

static void claim(struct look *look, enum footprint_row row, struct span span)
{
    uint64_t bytes = address_space_resident(look->space, span);
    look->footprint->bytes[row] += bytes;
    look->claimed += bytes;
    const struct mapping *mapping = address_space_find(look->space, span.from);
    if (mapping != NULL && mapping->is_file) { /* static tables: the first page of what is zero at the start */
        struct span in_file = {span.from, span.to < mapping->span.to ? span.to : mapping->span.to};
        uint64_t *files = &look->footprint->bytes[FOOTPRINT_files];
        bytes = address_space_resident(look->space, in_file);
        *files -= bytes < *files ? bytes : *files;
    }
}

static struct span units_of(uint64_t base, unsigned first, unsigned units)
{
    return (struct span){base + ((uint64_t)first << HK_UNIT_SHIFT),
                         base + ((uint64_t)(first + units) << HK_UNIT_SHIFT)};
}

static void claim_slab(struct look *look, const struct slab *slab, const uint64_t *bits)
{
    if (footprint_add_slab(look->space, slab, bits, &look->held, look->main_thread, look->footprint))
        look->claimed += address_space_resident(look->space, units_of((uintptr_t)slab->base, 0, slab->units));
    else
        look->footprint->unreadable++;
}

/* A block of `size` bytes of an ACE class in a span of its own. */
static void claim_block(struct look *look, unsigned class_idx, struct span span, uint64_t size, bool in_use)
{
    bool is_huge = class_idx == HK_CLASS_HUGE;
    enum footprint_row live = is_huge ? FOOTPRINT_live_huge : FOOTPRINT_live_large;
    enum footprint_row cached = is_huge ? FOOTPRINT_cached_huge : FOOTPRINT_cached_large;
    struct footprint_large *class = &look->footprint->large[class_idx - HK_CACHED_CLASSES];
    uint64_t length = span.to - span.from, resident = address_space_resident(look->space, span);
    *(in_use ? &class->live : &class->cached) += 1;
    *(in_use ? &class->live_resident : &class->cached_resident) += resident;
    if (!in_use) {
        claim(look, cached, span);
        look->footprint->trim_bytes += resident;
        return;
    }
    if (size > length)
        size = length;
    look->footprint->live_bytes += size;
    claim(look, live, (struct span){span.from, span.from + size});
    claim(look, FOOTPRINT_slab_free, (struct span){span.from + size, span.to});
}

/* ---- SuperSlabs ---- */

static void claim_run(struct look *look, const struct superslab *ss, uint64_t base, unsigned first)
{
    const struct slab *run = &ss->runs[first];
    if ((uintptr_t)run->base != base + ((uint64_t)first << HK_UNIT_SHIFT) || run->units == 0 ||
        run->units > HK_UNITS_PER_SUPERSLAB - first) {
        look->footprint->unreadable++;
        return;
    }
    if (run->class_idx < HK_CACHED_CLASSES)
        claim_slab(look, run, ss->bits[first]);
    else if (run->class_idx < HK_SIZED_CLASSES)
        claim_block(look, run->class_idx, units_of(base, first, run->units), run->size, run->in_use);
    else
        look->footprint->unreadable++;
}

static void claim_superslab(struct look *look, const struct superslab *ss, uint64_t base)
{
    struct footprint *footprint = look->footprint;
    size_t count = footprint->superslab_count;
    footprint->superslabs = grow_by_one(footprint->superslabs, count, sizeof *footprint->superslabs);
    struct footprint_superslab *out = &footprint->superslabs[footprint->superslab_count++];
    uint64_t before = look->claimed;
    occupancy_tell(ss, &out->occupancy);
    out->occupancy.base = base;
    out->resident = address_space_resident(look->space, units_of(base, 0, HK_UNITS_PER_SUPERSLAB));
    for (uint32_t left = ss->run_units; left != 0; left &= left - 1)
        claim_run(look, ss, base, (unsigned)__builtin_ctz(left));
    /* Units in no run, those that are being purged too. */
    uint64_t in_runs = look->claimed - before, free_bytes = out->resident > in_runs ? out->resident - in_runs : 0;
    footprint->bytes[FOOTPRINT_units] += free_bytes;
    footprint->trim_bytes += free_bytes;
    look->claimed += free_bytes;
}

static void claim_region(struct look *look)
{
    static uint64_t entries[4096];
    static struct superslab ss;
    const struct hk_region_account *region = &look->account->region;
    uint64_t count = region->units / HK_UNITS_PER_SUPERSLAB;
    if (region->base == 0)
        return;
    claim(look, FOOTPRINT_metadata, (struct span){region->map, region->map + region->tables});
    for (uint64_t idx = 0; idx < count && idx < SUPERSLABS_MOST && !is_absurd(look); idx++) {
        size_t within = idx % 4096;
        uint64_t left = count - idx < 4096 ? count - idx : 4096, at = region->superslabs + idx * sizeof entries[0];
        if (within == 0 && !address_space_read_resident(look->space, at, entries, left * sizeof entries[0])) {
            look->footprint->unreadable++;
            return;
        }
        if (entries[within] == 0)
            continue;
        uint64_t base = region->base + (idx << HK_SUPERSLAB_SHIFT);
        if (address_space_read_resident(look->space, entries[within], &ss, sizeof ss) && (uintptr_t)ss.base == base)
            claim_superslab(look, &ss, base);
        else
            look->footprint->unreadable++;
    }
}

/* ---- outside the region ---- */

/* A chunk is entered at each of its units: it is told where it begins. */
static void claim_legacy(struct look *look, uint64_t base, uint64_t owner)
{
    static uint64_t bits[HK_SLAB_BITMAP_WORDS];
    struct slab slab;
    bool is_read = address_space_read(look->space, owner, &slab, sizeof slab);
    if (is_read && (uintptr_t)slab.base != base && base - (uintptr_t)slab.base < (uint64_t)slab.units << HK_UNIT_SHIFT)
        return; /* it began in the leaf before */
    if (is_read && (uintptr_t)slab.base == base &&
        address_space_read_resident(look->space, (uintptr_t)slab.bits, bits, sizeof bits))
        claim_slab(look, &slab, bits);
    else
        look->footprint->unreadable++;
}

static void claim_huge(struct look *look, uint64_t base, uint64_t owner)
{
    struct huge huge;
    if (!address_space_read(look->space, owner, &huge, sizeof huge) || (uintptr_t)huge.base != base ||
        huge.mapped > ADDRESSES_MOST) {
        look->footprint->unreadable++;
        return;
    }
    claim_block(look, HK_CLASS_HUGE, (struct span){base, base + huge.mapped}, huge.size, huge.in_use);
}

static void claim_leaf(struct look *look, uint64_t leaf_at, uint64_t first_unit)
{
    static struct outer_leaf leaf;
    uint64_t last = 0;
    claim(look, FOOTPRINT_metadata, (struct span){leaf_at, leaf_at + sizeof leaf});
    if (!address_space_read_resident(look->space, leaf_at, &leaf, sizeof leaf)) {
        look->footprint->unreadable++;
        return;
    }
    for (uint64_t i = 0; i < OUTER_LEVEL_SIZE && !is_absurd(look); i++) {
        uint64_t entry = leaf.entries[i], owner = entry & ~(uint64_t)OUTER_KIND_MASK;
        uint64_t kind = entry & OUTER_KIND_MASK;
        if (kind == OUTER_LEGACY && owner != last)
            claim_legacy(look, (first_unit + i) << HK_UNIT_SHIFT, owner);
        else if (kind == OUTER_HUGE)
            claim_huge(look, (first_unit + i) << HK_UNIT_SHIFT, owner);
        last = kind == OUTER_LEGACY ? owner : 0;
    }
}

static void claim_outer(struct look *look, uint64_t root_at)
{
    static uint64_t root[OUTER_LEVEL_SIZE];
    claim(look, FOOTPRINT_metadata, (struct span){root_at, root_at + sizeof root});
    if (!address_space_read_resident(look->space, root_at, root, sizeof root)) {
        look->footprint->unreadable++;
        return;
    }
    for (uint64_t i = 0; i < OUTER_LEVEL_SIZE && !is_absurd(look); i++)
        if (root[i] != 0)
            claim_leaf(look, root[i], i << OUTER_LEVEL_BITS);
}

static void claim_metadata(struct look *look, uint64_t first)
{
    struct meta_chunk chunk;
    uint64_t at = 0;
    if (!address_space_peek(look->space, first, &at, sizeof at))
        look->footprint->unreadable++;
    for (unsigned i = 0; at != 0 && i < CHUNKS_MOST && !is_absurd(look); i++, at = (uintptr_t)chunk.next) {
        if (!address_space_read(look->space, at, &chunk, sizeof chunk) || chunk.length < sizeof chunk ||
            at + chunk.length < at) {
            look->footprint->unreadable++;
            return;
        }
        claim(look, FOOTPRINT_metadata, (struct span){at, at + chunk.length});
    }
}

/* The slots' pages are the live blocks', and for a moment those that are being freed. */
static void claim_guarded(struct look *look, const struct hk_layout *layout)
{
    static struct guard_slot slots[GUARD_UNITS];
    uint64_t base = 0, table = 0;
    if (!address_space_peek(look->space, layout->guard_base, &base, sizeof base) ||
        !address_space_peek(look->space, layout->guard_slots, &table, sizeof table))
        look->footprint->unreadable++;
    if (base == 0 || table == 0)
        return;
    claim(look, FOOTPRINT_metadata, (struct span){table, table + sizeof slots});
    claim(look, FOOTPRINT_live_guarded, (struct span){base, base + ((uint64_t)GUARD_UNITS << HK_UNIT_SHIFT)});
    if (!address_space_read_resident(look->space, table, slots, sizeof slots)) {
        look->footprint->unreadable++;
        return;
    }
    for (unsigned i = 0; i < GUARD_UNITS; i++)
        if (slots[i].state == GUARD_LIVE && slots[i].size <= HK_UNIT_SIZE)
            look->footprint->live_bytes += slots[i].size;
}

/* ---- all of it ---- */

static void claim_files(struct look *look)
{
    for (size_t i = 0; i < look->space->mapping_count; i++)
        if (look->space->mappings[i].is_file)
            look->footprint->bytes[FOOTPRINT_files] +=
                address_space_resident(look->space, look->space->mappings[i].span);
}

static void claim_everything(struct look *look)
{
    const struct hk_layout *layout = &look->account->layout;
    struct footprint *footprint = look->footprint;
    uint64_t resident = address_space_resident(look->space, (struct span){0, UINT64_MAX});
    look->resident = resident;
    claim_files(look);
    claim_metadata(look, layout->meta_chunks);
    claim(look, FOOTPRINT_metadata,
          (struct span){layout->quarantine, layout->quarantine + QUARANTINE_SHARDS * sizeof(struct quarantine_shard)});
    claim(look, FOOTPRINT_metadata,
          (struct span){layout->fork_token, layout->fork_token + (uint64_t)sysconf(_SC_PAGESIZE)});
    claim_region(look);
    claim_outer(look, layout->outer_root);
    claim_guarded(look, layout);
    for (unsigned c = 0; c < HK_CACHED_CLASSES; c++)
        footprint->live_bytes += footprint->classes[c].live * footprint->classes[c].block_size;
    uint64_t known = look->claimed + footprint->bytes[FOOTPRINT_files];
    footprint->bytes[FOOTPRINT_other] = resident > known ? resident - known : 0;
    footprint->unreadable += known > resident; /* tables that overlap */
}

bool footprint_read(struct address_space *space, struct footprint *footprint, char *error)
{
    struct hk_process_account *account = grow(NULL, 1, sizeof *account);
    struct look look = {.space = space, .footprint = footprint, .account = account, .main_thread = NO_THREAD};
    struct os_account os;
    *footprint = (struct footprint){0};
    bool found = process_account_read(space, account, error);
    if (found) {
        footprint->generation = account->classes[0].generation;
        if (address_space_read(space, (uintptr_t)account->os, &os, sizeof os))
            footprint->mapped_bytes = os.mapped;
        for (unsigned c = 0; c < HK_CACHED_CLASSES; c++)
            footprint->classes[c].block_size = HK_CLASS_SIZE(c);
        for (unsigned c = HK_CACHED_CLASSES; c < HK_SIZED_CLASSES; c++)
            footprint->large[c - HK_CACHED_CLASSES].block_size = HK_CLASS_SIZE(c);
        held_read(space, &account->layout, footprint, &look.held);
        for (size_t i = 0; i < footprint->thread_count; i++)
            if (footprint->threads[i].tid == (uint32_t)space->pid)
                look.main_thread = (uint32_t)i;
        claim_everything(&look);
        footprint_read_failures(space, account->layout.failures, footprint);
        free(look.held.list);
    }
    free(account);
    return found;
}

void footprint_free(struct footprint *footprint)
{
    free(footprint->threads);
    free(footprint->superslabs);
    free(footprint->failures);
    footprint_free_samples(footprint);
}

uint64_t footprint_of(const struct footprint *footprint, enum footprint_whose whose)
{
    uint64_t bytes = 0;
    for (unsigned row = 0; row < FOOTPRINT_ROWS; row++)
        bytes += footprint_rows[row].whose == whose ? footprint->bytes[row] : 0;
    return bytes;
}

uint64_t footprint_allocator(const struct footprint *footprint)
{
    return footprint_of(footprint, FOOTPRINT_LIVE) + footprint_of(footprint, FOOTPRINT_KEPT) +
           footprint_of(footprint, FOOTPRINT_NEEDED);
}
