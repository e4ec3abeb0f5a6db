#include "footprint_slab.h"

#include <string.h>

#define PAGE_BYTES 4096u
#define PAGES (HK_UNIT_SIZE / PAGE_BYTES) /* in a unit */
#define BLOCKS_MOST (HK_SLAB_BITMAP_WORDS * 64)

/* Of a block: who has it. */
enum use { USE_FREE, USE_LIVE, USE_CHAINED, USE_QUARANTINE, USE_CACHED };

struct look {
    const struct address_space *space;
    const struct slab *slab;
    struct footprint *footprint;
    struct footprint_class *class;
    size_t size;                               /* of a block */
    uint8_t uses[BLOCKS_MOST];                 /* enum use */
    bool is_main[BLOCKS_MOST];                 /* cached by the main thread */
    uint16_t resident[HK_UNITS_PER_SUPERSLAB]; /* bit p: page p of the unit */
    uint32_t used, stays;                      /* blocks: not free; of them those that malloc_trim() leaves */
};

static uint64_t unit_base(const struct look *look, unsigned unit)
{
    return (uintptr_t)look->slab->base + ((uint64_t)unit << HK_UNIT_SHIFT);
}

/* Bytes of [from, to) of a unit that are resident. */
static uint64_t resident_of(const struct look *look, unsigned unit, size_t from, size_t to)
{
    uint64_t bytes = 0;
    for (size_t page = from / PAGE_BYTES; page * PAGE_BYTES < to; page++) {
        size_t begin = page * PAGE_BYTES, end = begin + PAGE_BYTES;
        if (look->resident[unit] >> page & 1)
            bytes += (end < to ? end : to) - (begin > from ? begin : from);
    }
    return bytes;
}

/* A unit's resident pages; others read as zeros. */
static void read_unit(const struct look *look, unsigned unit, char *bytes)
{
    if (!address_space_read_resident(look->space, unit_base(look, unit), bytes, HK_UNIT_SIZE)) {
        memset(bytes, 0, HK_UNIT_SIZE);
        look->footprint->unreadable++;
    }
}

static void look_at_block(struct look *look, const struct held_blocks *held, uint32_t main_thread, unsigned idx,
                          uint64_t block, const char *bytes)
{
    uint64_t words[2];
    memcpy(words, bytes, sizeof words);
    const struct held *by = held_find(held, block);
    bool listed = held_is_listed(held, words);
    enum use use = by != NULL && by->by == HELD_QUARANTINE ? USE_QUARANTINE
                   : listed && by != NULL                  ? USE_CACHED
                   : listed                                ? USE_CHAINED
                                                           : USE_LIVE;
    look->uses[idx] = (uint8_t)use;
    look->is_main[idx] = use == USE_CACHED && by->by == main_thread;
    look->used++;
    look->stays += use == USE_LIVE || (use == USE_CACHED && !look->is_main[idx]);
    if (use == USE_CACHED) {
        struct footprint_thread *thread = &look->footprint->threads[by->by];
        size_t at = (size_t)(block - (uintptr_t)look->slab->base);
        thread->blocks++;
        thread->bytes +=
            resident_of(look, (unsigned)(at >> HK_UNIT_SHIFT), at % HK_UNIT_SIZE, at % HK_UNIT_SIZE + look->size);
    }
}

static void look_at_blocks(struct look *look, const uint64_t *bits, const struct held_blocks *held,
                           uint32_t main_thread)
{
    static char bytes[HK_UNIT_SIZE];
    unsigned per_unit = look->slab->per_unit;
    look->used = look->stays = 0;
    for (unsigned unit = 0; unit < look->slab->units; unit++) {
        look->resident[unit] =
            (uint16_t)address_space_resident_mask(look->space, unit_base(look, unit), PAGE_BYTES, PAGES);
        bool is_read = false;
        for (unsigned i = 0; i < per_unit; i++) {
            unsigned idx = unit * per_unit + i;
            look->uses[idx] = USE_FREE;
            look->is_main[idx] = false;
            if (bits[idx / 64] >> (idx % 64) & 1)
                continue;
            if (!is_read)
                read_unit(look, unit, bytes);
            is_read = true;
            look_at_block(look, held, main_thread, idx, unit_base(look, unit) + i * look->size, bytes + i * look->size);
        }
    }
}

static void add_rows(struct look *look)
{
    static const enum footprint_row rows[] = {
        [USE_LIVE] = FOOTPRINT_live,
        [USE_CHAINED] = FOOTPRINT_chains,
        [USE_QUARANTINE] = FOOTPRINT_quarantine,
        [USE_CACHED] = FOOTPRINT_thread_caches,
    };
    struct footprint *footprint = look->footprint;
    struct footprint_class *class = look->class;
    uint64_t *counts[] = {&class->free, &class->live, &class->chained, &class->quarantined, &class->cached};
    enum footprint_row unused = look->used != 0 ? FOOTPRINT_slab_free : FOOTPRINT_slab_empty;
    unsigned per_unit = look->slab->per_unit;
    for (unsigned unit = 0; unit < look->slab->units; unit++) {
        for (unsigned i = 0; i < per_unit; i++) {
            enum use use = (enum use)look->uses[unit * per_unit + i];
            enum footprint_row row = use == USE_FREE ? unused : rows[use];
            footprint->bytes[row] += resident_of(look, unit, i * look->size, (i + 1) * look->size);
            ++*counts[use];
        }
        footprint->bytes[unused] += resident_of(look, unit, per_unit * look->size, HK_UNIT_SIZE);
        class->resident += resident_of(look, unit, 0, HK_UNIT_SIZE);
    }
}

/* As slab_purge() and the shared pool do it: all of a slab that is empty then, else the pages without a block in use, but not of a small
 * class's slab that is half full. */
static uint64_t trimmable(const struct look *look, unsigned class_idx)
{
    uint64_t bytes = 0;
    unsigned per_unit = look->slab->per_unit;
    bool is_dense = class_idx < HK_SMALL_CLASSES && (look->slab->blocks - look->stays) * 2u < look->slab->blocks;
    if (look->stays != 0 && (is_dense || look->slab->sampled))
        return 0;
    for (unsigned unit = 0; unit < look->slab->units; unit++) {
        uint16_t left = look->resident[unit];
        for (unsigned i = 0; i < per_unit && look->stays != 0; i++) {
            unsigned idx = unit * per_unit + i;
            if (look->uses[idx] != USE_LIVE && (look->uses[idx] != USE_CACHED || look->is_main[idx]))
                continue;
            for (size_t page = i * look->size / PAGE_BYTES; page * PAGE_BYTES < (i + 1) * look->size; page++)
                left = (uint16_t)(left & ~(1u << page));
        }
        bytes += (uint64_t)__builtin_popcount(left) * PAGE_BYTES;
    }
    return bytes;
}

bool footprint_add_slab(const struct address_space *space, const struct slab *slab, const uint64_t *bits,
                        const struct held_blocks *held, uint32_t main_thread, struct footprint *footprint)
{
    static struct look look;
    unsigned class_idx = slab->class_idx;
    if (class_idx >= HK_CACHED_CLASSES || slab->units == 0 || slab->units > HK_UNITS_PER_SUPERSLAB)
        return false;
    struct footprint_class *class = &footprint->classes[class_idx];
    if (slab->per_unit != HK_UNIT_SIZE / class->block_size || slab->blocks != slab->units * slab->per_unit ||
        slab->blocks > BLOCKS_MOST)
        return false;
    look.space = space;
    look.slab = slab;
    look.footprint = footprint;
    look.class = class;
    look.size = class->block_size;
    look_at_blocks(&look, bits, held, main_thread);
    add_rows(&look);
    class->slabs++;
    class->sparse_slabs += look.used != 0 && look.used * 4 <= slab->blocks;
    footprint->trim_bytes += trimmable(&look, class_idx);
    return true;
}
