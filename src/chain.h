/* chain.h - free blocks linked through their own words: what thread caches hold and the shared pool passes on.
 *
 * For a free block at p whose next is n (NULL at the end):   p[0] = n ^ secret ^ p      p[1] = secret ^ p, the mark
 * malloc clears the mark, so that the second free of a block sees it; a link that does not lead to a marked block is
 * corrupt, and known before it is followed. */
#ifndef HK_CHAIN_H
#define HK_CHAIN_H

#include "base.h"

/* const: after heap_init(). */
extern HK_HIDDEN uintptr_t hk_secret;

struct hk_chain {
    void *head;
    uint32_t count; /* head == NULL <=> count == 0 */
};

static inline uintptr_t hk_mark(const void *block)
{
    return hk_secret ^ (uintptr_t)block;
}

static inline bool hk_is_marked(const void *block)
{
    return ((const uintptr_t *)block)[1] == hk_mark(block);
}

static inline void *hk_link(const void *block)
{
    return (void *)(((const uintptr_t *)block)[0] ^ hk_mark(block));
}

/* mark: hk_mark(block), which the fast path has at hand. */
static inline void hk_set_link_marked(void *block, const void *next, uintptr_t mark)
{
    ((uintptr_t *)block)[0] = (uintptr_t)next ^ mark;
    ((uintptr_t *)block)[1] = mark;
}

static inline void hk_set_link(void *block, const void *next)
{
    hk_set_link_marked(block, next, hk_mark(block));
}

static inline void hk_clear_mark(void *block)
{
    ((uintptr_t *)block)[1] = 0;
}

#endif
