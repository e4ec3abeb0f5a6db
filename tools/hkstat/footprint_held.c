#include "footprint_held.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "src/layout.h"

#define THREADS_MOST 1000000u
#define LIST_MOST (1u << 21)   /* blocks of one thread's class */
#define BLOCKS_MOST (1u << 26) /* in all */

bool held_is_listed(const struct held_blocks *held, const uint64_t words[2])
{
    return words[0] >> HK_MARK_SHIFT == HK_MARK && (words[0] ^ held->secret) == words[1];
}

static void add(struct held_blocks *held, uint64_t block, uint32_t by)
{
    held->list = grow_by_one(held->list, held->count, sizeof *held->list);
    held->list[held->count++] = (struct held){block, by};
}

static void follow_list(const struct address_space *space, struct held_blocks *held, uint64_t block, uint32_t by)
{
    uint64_t words[2];
    for (unsigned i = 0; i < LIST_MOST && held->count < BLOCKS_MOST; i++, block = words[1]) {
        if (block == 0 || !address_space_peek(space, block, words, sizeof words) || !held_is_listed(held, words))
            return;
        add(held, block, by);
    }
}

static void follow_thread(const struct address_space *space, const struct hk_thread *thread,
                          struct footprint *footprint, struct held_blocks *held)
{
    static struct hk_tls tls;
    uint32_t idx = (uint32_t)footprint->thread_count;
    footprint->threads = grow_by_one(footprint->threads, idx, sizeof *footprint->threads);
    footprint->threads[footprint->thread_count++] = (struct footprint_thread){.tid = thread->tid};
    if (!address_space_read(space, (uintptr_t)thread->tls, &tls, sizeof tls)) {
        footprint->unreadable++; /* it has just ended */
        return;
    }
    for (unsigned bin = 1; bin < HK_BINS; bin++)
        follow_list(space, held, (uintptr_t)tls.bins[bin].head, idx);
}

static void follow_threads(const struct address_space *space, uint64_t first, struct footprint *footprint,
                           struct held_blocks *held)
{
    union {
        struct hk_thread thread;
        char bytes[offsetof(struct hk_thread, classes)];
    } *head = grow(NULL, 1, sizeof *head);
    uint64_t at = 0;
    if (!address_space_peek(space, first, &at, sizeof at))
        footprint->unreadable++;
    while (at != 0 && footprint->thread_count < THREADS_MOST) {
        if (!address_space_read(space, at, head->bytes, sizeof head->bytes)) {
            footprint->unreadable++;
            break;
        }
        follow_thread(space, &head->thread, footprint, held);
        at = (uintptr_t)head->thread.next;
    }
    free(head);
}

static void read_quarantine(const struct address_space *space, uint64_t shards, struct footprint *footprint,
                            struct held_blocks *held)
{
    static struct quarantine_shard shard;
    for (unsigned i = 0; i < QUARANTINE_SHARDS; i++) {
        if (!address_space_read_resident(space, shards + i * sizeof shard, &shard, sizeof shard)) {
            footprint->unreadable++;
            return;
        }
        for (unsigned slot = 0; slot < QUARANTINE_SLOTS; slot++)
            if (shard.slots[slot] != 0)
                add(held, shard.slots[slot] & ((UINT64_C(1) << QUARANTINE_CLASS_SHIFT) - 1), HELD_QUARANTINE);
    }
}

static int by_block(const void *a, const void *b)
{
    const struct held *left = a, *right = b;
    return left->block < right->block ? -1 : left->block > right->block;
}

void held_read(const struct address_space *space, const struct hk_layout *layout, struct footprint *footprint,
               struct held_blocks *held)
{
    *held = (struct held_blocks){0};
    if (!address_space_peek(space, layout->secret, &held->secret, sizeof held->secret))
        footprint->unreadable++;
    follow_threads(space, layout->threads, footprint, held);
    read_quarantine(space, layout->quarantine, footprint, held);
    if (held->count != 0)
        qsort(held->list, held->count, sizeof *held->list, by_block);
}

const struct held *held_find(const struct held_blocks *held, uint64_t block)
{
    const struct held wanted = {.block = block};
    return held->count == 0 ? NULL : bsearch(&wanted, held->list, held->count, sizeof wanted, by_block);
}
