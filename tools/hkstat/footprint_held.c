#include "footprint_held.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "src/layout.h"

#define THREADS_MOST 1000000u
#define LIST_MOST (1u << 21)          /* blocks of one thread's class */
#define BLOCKS_MOST ((size_t)1 << 26) /* in all */
#define BLOCK_LEAST 16u               /* bytes */

/* A walk along a list that may lead back into itself. */
struct walk {
    uint64_t mark; /* where it was after the last power of two of steps */
    uint64_t steps;
};

bool held_is_listed(const struct held_blocks *held, const uint64_t words[2])
{
    return words[0] >> HK_MARK_SHIFT == HK_MARK && (words[0] ^ held->secret) == words[1];
}

/* At the next entry. True: it was here before. (R. P. Brent, An improved Monte Carlo factorization algorithm, 1980.) */
static bool comes_round(struct walk *walk, uint64_t at)
{
    if (walk->steps != 0 && at == walk->mark)
        return true;
    if ((walk->steps & (walk->steps - 1)) == 0)
        walk->mark = at;
    walk->steps++;
    return false;
}

static void add(struct held_blocks *held, uint64_t block, uint32_t by)
{
    held->list = grow_by_one(held->list, held->count, sizeof *held->list);
    held->list[held->count++] = (struct held){block, by};
}

/* False: the list does not end. */
static bool follow_list(const struct address_space *space, struct held_blocks *held, uint64_t block, uint32_t by)
{
    struct walk walk = {0};
    uint64_t words[2];
    for (unsigned i = 0; i < LIST_MOST && held->count < held->most; i++, block = words[1]) {
        if (block == 0 || !address_space_peek(space, block, words, sizeof words) || !held_is_listed(held, words))
            return true;
        if (comes_round(&walk, block))
            break;
        add(held, block, by);
    }
    return false;
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
        footprint->unreadable += !follow_list(space, held, (uintptr_t)tls.bins[bin].head, idx);
}

static void follow_threads(const struct address_space *space, uint64_t first, struct footprint *footprint,
                           struct held_blocks *held)
{
    union {
        struct hk_thread thread;
        char bytes[offsetof(struct hk_thread, classes)];
    } *head = grow(NULL, 1, sizeof *head);
    struct walk walk = {0};
    uint64_t at = 0;
    if (!address_space_peek(space, first, &at, sizeof at))
        footprint->unreadable++;
    while (at != 0 && footprint->thread_count < THREADS_MOST) {
        if (comes_round(&walk, at) || !address_space_read(space, at, head->bytes, sizeof head->bytes)) {
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
    uint64_t most = address_space_resident(space, (struct span){0, UINT64_MAX}) / BLOCK_LEAST;
    *held = (struct held_blocks){.most = most < BLOCKS_MOST ? (size_t)most : BLOCKS_MOST};
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
