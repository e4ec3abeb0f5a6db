/* quarantine.c - see quarantine.h. A shard's lock is held until a block is in its slab: a fork finds each in one of the two. */
#include "quarantine.h"

#include <errno.h>
#include <string.h>

#include "canary.h"
#include "chance.h"
#include "misuse.h"
#include "shared_pool.h"

#define SHARD_BYTES (QUARANTINE_BYTES / QUARANTINE_SHARDS)

_Static_assert(SHARD_BYTES >= HK_CACHED_MAX, "a shard has room for a block");

struct quarantine_shard quarantine_shards[QUARANTINE_SHARDS];

static void *block_of(uint64_t entry)
{
    return (void *)(uintptr_t)(entry & ((UINT64_C(1) << QUARANTINE_CLASS_SHIFT) - 1));
}

static unsigned class_of(uint64_t entry)
{
    return (unsigned)(entry >> QUARANTINE_CLASS_SHIFT);
}

static size_t size_of(uint64_t entry)
{
    return hk_class_size[class_of(entry)];
}

/* The slot's block goes to its slab; one that was written to goes nowhere. The lock is let go before an abort, so that a handler of
 * SIGABRT may allocate. */
static void release(struct quarantine_shard *shard, unsigned slot)
{
    uint64_t entry = shard->slots[slot];
    if (entry == 0)
        return;
    shard->slots[slot] = 0; /* first: the child of a raw clone may lose a block, but never has it twice */
    shard->bytes -= size_of(entry);
    bool untouched = canary_unwipe(block_of(entry), size_of(entry));
    if (hk_likely(untouched && shared_pool_put(class_of(entry), block_of(entry)) == SLAB_GIVEN))
        return;
    hk_unlock(&shard->lock);
    misuse_abort(untouched ? MISUSE_DOUBLE_FREE : MISUSE_WRITE_AFTER_FREE, block_of(entry), size_of(entry));
}

void quarantine_put(unsigned class_idx, void *block)
{
    int saved = errno;
    uint64_t chance = chance_next(), entry = (uint64_t)class_idx << QUARANTINE_CLASS_SHIFT | (uintptr_t)block;
    struct quarantine_shard *shard = &quarantine_shards[chance % QUARANTINE_SHARDS];
    unsigned slot = (unsigned)(chance >> 32) % QUARANTINE_SLOTS;
    hk_lock(&shard->lock);
    release(shard, slot);
    for (unsigned i = 1; shard->bytes + size_of(entry) > SHARD_BYTES; i++)
        release(shard, (slot + i) % QUARANTINE_SLOTS);
    shard->slots[slot] = entry;
    shard->bytes += size_of(entry);
    hk_unlock(&shard->lock);
    errno = saved;
}

void quarantine_flush(void)
{
    int saved = errno;
    for (struct quarantine_shard *shard = quarantine_shards; shard < quarantine_shards + QUARANTINE_SHARDS; shard++) {
        hk_lock(&shard->lock);
        for (unsigned slot = 0; slot < QUARANTINE_SLOTS && shard->bytes > 0; slot++)
            release(shard, slot);
        hk_unlock(&shard->lock);
    }
    errno = saved;
}

bool quarantine_holds(const void *block)
{
    bool holds = false;
    for (struct quarantine_shard *shard = quarantine_shards; shard < quarantine_shards + QUARANTINE_SHARDS && !holds;
         shard++) {
        hk_lock(&shard->lock);
        for (unsigned slot = 0; slot < QUARANTINE_SLOTS && !holds; slot++)
            holds = shard->slots[slot] != 0 && block_of(shard->slots[slot]) == block;
        hk_unlock(&shard->lock);
    }
    return holds;
}

void quarantine_count(uint32_t blocks[HK_CACHED_CLASSES])
{
    memset(blocks, 0, HK_CACHED_CLASSES * sizeof *blocks);
    for (struct quarantine_shard *shard = quarantine_shards; shard < quarantine_shards + QUARANTINE_SHARDS; shard++) {
        hk_lock(&shard->lock);
        for (unsigned slot = 0; slot < QUARANTINE_SLOTS; slot++)
            if (shard->slots[slot] != 0)
                blocks[class_of(shard->slots[slot])]++;
        hk_unlock(&shard->lock);
    }
}

void quarantine_before_fork(void)
{
    for (unsigned i = 0; i < QUARANTINE_SHARDS; i++)
        hk_lock(&quarantine_shards[i].lock);
}

/* In the child of a raw clone a slot is what it is: each changes by one store. */
void quarantine_after_fork(bool raw_child)
{
    for (struct quarantine_shard *shard = quarantine_shards + QUARANTINE_SHARDS; shard-- > quarantine_shards;) {
        if (!raw_child) {
            hk_unlock(&shard->lock);
            continue;
        }
        shard->bytes = 0;
        for (unsigned slot = 0; slot < QUARANTINE_SLOTS; slot++)
            if (shard->slots[slot] != 0)
                shard->bytes += size_of(shard->slots[slot]);
        hk_lock_reset(&shard->lock);
    }
}
