#include "slab.h"

#include "os.h"

static inline uint8_t *block_at(const struct slab *slab, unsigned idx)
{
    unsigned unit = slab->units > 1 ? idx / slab->per_unit : 0;
    return slab->base + ((size_t)unit << HK_UNIT_SHIFT) +
           (size_t)(idx - unit * slab->per_unit) * hk_class_size[slab->class_idx];
}

/* The index of the block that holds this offset; a unit's rest behind its last block counts as one more block, whose index is
 * also that of the next unit's first. Exact for offsets that are multiples of 16: the error of the magic, at most
 * 2^16 * size < 2^32, stays below the distance to the next quotient, 16 * 2^32 / size. */
static inline unsigned block_idx(const struct slab *slab, size_t offset)
{
    unsigned in_unit = (unsigned)(((offset % HK_UNIT_SIZE) * hk_class_magic[slab->class_idx]) >> 32);
    return (unsigned)(offset >> HK_UNIT_SHIFT) * slab->per_unit + in_unit;
}

static uint64_t page_bits(size_t first_byte, size_t end_byte)
{
    unsigned shift = (unsigned)__builtin_ctzl(os_page_size);
    unsigned first = (unsigned)(first_byte >> shift), last = (unsigned)((end_byte - 1) >> shift);
    return (~UINT64_C(0) >> (63 - (last - first))) << first;
}

/* The pages of the units' rests, where no block lies: nothing else would ever give them back while the slab is in use. */
static void purge_rests(struct slab *slab)
{
    size_t in_blocks = (size_t)slab->per_unit * hk_class_size[slab->class_idx];
    size_t rest = hk_align_up(in_blocks, os_page_size);
    for (size_t unit = 0; rest < HK_UNIT_SIZE && unit < (size_t)slab->units << HK_UNIT_SHIFT; unit += HK_UNIT_SIZE)
        if (os_purge(slab->base + unit + rest, HK_UNIT_SIZE - rest))
            slab->dirty_pages &= ~page_bits(unit + rest, unit + HK_UNIT_SIZE);
}

void slab_open(struct slab *slab, unsigned class_idx, bool dirty)
{
    size_t bytes = (size_t)slab->units << HK_UNIT_SHIFT;
    slab->class_idx = (uint16_t)class_idx;
    slab->per_unit = (uint16_t)hk_blocks_per_unit(class_idx);
    slab->blocks = (uint16_t)(slab->units * slab->per_unit);
    slab->nfree = slab->blocks;
    slab->hint = 0;
    atomic_store_relaxed(&slab->in_use, true);
    slab->sampled = false;
    slab->dirty_pages = dirty ? page_bits(0, bytes) : 0;
    for (unsigned w = 0, left = slab->blocks; left > 0; w++) {
        unsigned n = left < 64 ? left : 64;
        slab->bits[w] = ~UINT64_C(0) >> (64 - n);
        left -= n;
    }
    if (dirty)
        purge_rests(slab);
}

/* The block is in use; count and hint are the caller's affair. */
static uint8_t *take_block(struct slab *slab, unsigned word_idx, unsigned bit)
{
    uint8_t *block = block_at(slab, word_idx * 64u + bit);
    size_t offset = (size_t)(block - slab->base);
    atomic_store_relaxed(&slab->bits[word_idx], slab->bits[word_idx] & ~(UINT64_C(1) << bit));
    slab->dirty_pages |= page_bits(offset, offset + hk_class_size[slab->class_idx]);
    return block;
}

uint32_t slab_take(struct slab *slab, uint32_t want, struct hk_chain *chain)
{
    uint32_t taken = 0;
    uint8_t *last = NULL, *first = NULL;
    if (want > slab->nfree)
        want = slab->nfree;
    while (taken < want) {
        uint64_t word = slab->bits[slab->hint];
        if (word == 0) {
            slab->hint++;
            continue;
        }
        uint8_t *block = take_block(slab, slab->hint, (unsigned)__builtin_ctzll(word));
        if (last != NULL)
            hk_set_link(last, block);
        else
            first = block;
        last = block;
        taken++;
    }
    if (taken > 0) {
        hk_set_link(last, chain->head);
        chain->head = first;
        chain->count += taken;
        slab->nfree = (uint16_t)(slab->nfree - taken);
    }
    return taken;
}

/* A random word of the bitmap, the next that has a one, and there the first one from a random bit on: not all blocks are as likely,
 * but which it is cannot be told. */
void *slab_take_any(struct slab *slab, uint64_t chance)
{
    unsigned words = (slab->blocks + 63u) / 64, idx = (unsigned)(chance >> 32) % words, from = chance % 64;
    if (slab->nfree == 0)
        return NULL;
    while (slab->bits[idx] == 0)
        idx = idx + 1 < words ? idx + 1 : 0;
    uint64_t word = slab->bits[idx], above = word >> from << from;
    slab->nfree--;
    return take_block(slab, idx, (unsigned)__builtin_ctzll(above != 0 ? above : word));
}

void slab_recount(struct slab *slab)
{
    slab->hint = 0;
    slab->nfree = 0;
    for (unsigned w = 0; w * 64 < slab->blocks; w++)
        slab->nfree = (uint16_t)(slab->nfree + __builtin_popcountll(slab->bits[w]));
}

bool slab_is_block(const struct slab *slab, const void *ptr)
{
    size_t offset = (size_t)((const uint8_t *)ptr - slab->base);
    if (offset % HK_ALIGNMENT != 0)
        return false;
    unsigned idx = block_idx(slab, offset);
    return idx < slab->blocks && block_at(slab, idx) == ptr;
}

bool slab_block_is_free(const struct slab *slab, const void *ptr)
{
    unsigned idx = block_idx(slab, (size_t)((const uint8_t *)ptr - slab->base));
    return (atomic_load_relaxed(&slab->bits[idx / 64]) >> (idx % 64)) & 1;
}

enum slab_give_result slab_give(struct slab *slab, void *block)
{
    if (!slab_is_block(slab, block))
        return SLAB_INTERIOR;
    unsigned idx = block_idx(slab, (size_t)((uint8_t *)block - slab->base));
    uint64_t bit = UINT64_C(1) << (idx % 64);
    if (slab->bits[idx / 64] & bit)
        return SLAB_DOUBLE;
    atomic_store_relaxed(&slab->bits[idx / 64], slab->bits[idx / 64] | bit);
    slab->nfree++;
    if (slab->hint > idx / 64)
        slab->hint = (uint16_t)(idx / 64);
    return SLAB_GIVEN;
}

static bool blocks_free(const struct slab *slab, unsigned first, unsigned end)
{
    for (unsigned idx = first; idx < end; idx++) {
        if (idx % 64 == 0 && idx + 64 <= end && slab->bits[idx / 64] == ~UINT64_C(0)) {
            idx += 63;
            continue;
        }
        if (!((slab->bits[idx / 64] >> (idx % 64)) & 1))
            return false;
    }
    return true;
}

static bool page_is_free(const struct slab *slab, size_t page)
{
    size_t size = hk_class_size[slab->class_idx], in_unit = page % HK_UNIT_SIZE;
    unsigned per_unit = slab->per_unit, unit = (unsigned)(page >> HK_UNIT_SHIFT);
    unsigned first = (unsigned)(in_unit / size), end = (unsigned)((in_unit + os_page_size - 1) / size) + 1;
    return blocks_free(slab, unit * per_unit + first, unit * per_unit + (end < per_unit ? end : per_unit));
}

size_t slab_purge(struct slab *slab)
{
    size_t bytes = (size_t)slab->units << HK_UNIT_SHIFT, purged = 0;
    size_t start = 0, end = 0; /* the run of pages to purge next */
    for (size_t page = 0; page < bytes; page += os_page_size) {
        uint64_t bit = page_bits(page, page + os_page_size);
        if (!(slab->dirty_pages & bit) || !page_is_free(slab, page))
            continue;
        slab->dirty_pages &= ~bit;
        if (end != page) {
            if (end > start && os_purge(slab->base + start, end - start))
                purged += end - start;
            start = page;
        }
        end = page + os_page_size;
    }
    if (end > start && os_purge(slab->base + start, end - start))
        purged += end - start;
    return purged;
}
