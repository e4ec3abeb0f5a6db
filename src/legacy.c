#include "legacy.h"

#include "../probes/probe.h"
#include "account.h"
#include "meta.h"
#include "os.h"
#include "outer_map.h"
#include "region.h"

struct legacy_chunk {
    struct slab slab; /* first: a chunk is known by its slab */
    uint64_t bits[HK_SLAB_BITMAP_WORDS];
};

uint64_t legacy_bytes;

static size_t chunk_bytes(unsigned class_idx)
{
    return (size_t)hk_class_units(class_idx) << HK_UNIT_SHIFT;
}

struct slab *legacy_open(unsigned class_idx)
{
    struct legacy_chunk *chunk = meta_alloc(sizeof *chunk);
    if (chunk == NULL)
        return NULL;
    size_t bytes = chunk_bytes(class_idx);
    uint8_t *base = os_map(bytes, HK_UNIT_SIZE, OS_LEGACY);
    if (base == NULL) {
        meta_free(chunk, sizeof *chunk);
        return NULL;
    }
    chunk->slab.base = base;
    chunk->slab.bits = chunk->bits;
    chunk->slab.units = (uint16_t)hk_class_units(class_idx);
    slab_open(&chunk->slab, class_idx, false);
    if (!outer_map_set(base, chunk->slab.units, OUTER_LEGACY, &chunk->slab)) {
        os_unmap(base, bytes, OS_LEGACY);
        meta_free(chunk, sizeof *chunk);
        return NULL;
    }
    atomic_add_relaxed(&legacy_bytes, bytes);
    uint64_t chunks = atomic_add_relaxed(&hk_account.capacity.legacy_chunks, 1) + 1;
    HK_PROBE_FIRE(legacy_alloc, class_idx, base, bytes, chunks);
    return &chunk->slab;
}

bool legacy_close(struct slab *slab)
{
    size_t bytes = chunk_bytes(slab->class_idx);
    uint8_t *base = slab->base;
    unsigned class_idx = slab->class_idx;
    /* The entry goes before the addresses can become somebody else's. */
    outer_map_clear(base, slab->units);
    if (!os_unmap(base, bytes, OS_LEGACY)) {
        slab->dirty_pages = 0; /* os_unmap() has purged it */
        if (outer_map_set(base, slab->units, OUTER_LEGACY, slab))
            return false;
    }
    meta_free(slab, sizeof(struct legacy_chunk));
    atomic_sub_relaxed(&legacy_bytes, bytes);
    uint64_t chunks = atomic_sub_relaxed(&hk_account.capacity.legacy_chunks, 1) - 1;
    HK_PROBE_FIRE(legacy_free, class_idx, base, bytes, chunks);
    return true;
}

bool legacy_owns(const struct slab *slab)
{
    return region_superslab(((uintptr_t)slab->base - region_base) >> HK_SUPERSLAB_SHIFT) == NULL;
}

struct slab *legacy_find(const void *ptr)
{
    struct outer_entry entry = outer_map_find(ptr);
    return entry.kind == OUTER_LEGACY ? entry.owner : NULL;
}
