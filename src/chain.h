/* chain.h - free blocks linked through their first two words: what thread caches hold and the shared pool passes on.
 *
 * For a free block at p whose next is n (hk_chain_end at the end):   p[1] = n,  p[0] = n ^ secret
 *
 * malloc takes no block whose two words don't agree: a write to a free block is found before what it wrote is followed, but for one
 * in 2^48. Addresses end below bit 48, so the upper 16 bits of p[0] are those of the secret: the mark, HK_MARK in every process.
 * malloc clears p[0], so the second free of a block sees the mark. A live block may bear it by chance: it says "look", and no more. */
#ifndef HK_CHAIN_H
#define HK_CHAIN_H

#include "base.h"

/* No address begins so, no text in UTF-8 holds it, no integer or floating-point number of usual size. An immediate operand of
 * the fast path; of 8 bits when its sign is extended, since one of 16 stalls decoders. */
#define HK_MARK 0xFF81u
#define HK_MARK_SHIFT 48u
#define HK_MARK_WORD (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 3 : 0) /* the 16-bit word of p[0] that holds it */

typedef uintptr_t __attribute__((may_alias)) hk_word;

/* const: after heap_init(). Its upper 16 bits are HK_MARK. */
extern HK_HIDDEN uintptr_t hk_secret;

/* No block: an empty list begins with it, the last block's next is it. Its words don't agree, so that malloc stops there without
 * a test for it. */
extern HK_HIDDEN const uintptr_t hk_chain_end[2];

struct hk_chain {
    void *head;
    uint32_t count; /* head == NULL <=> count == 0; one too many in a child of fork whose handler interrupted free */
};

static inline bool hk_is_marked(const void *block)
{
    typedef uint16_t __attribute__((may_alias)) half_word;
    return ((const half_word *)block)[HK_MARK_WORD] == HK_MARK;
}

/* The words of a free block that nobody wrote to agree. *next: what follows, or hk_chain_end; else anything. */
static inline bool hk_next_in_chain(const void *block, void **next)
{
    const hk_word *words = (const hk_word *)block;
    uintptr_t decoded = words[0] ^ hk_secret;
    *next = (void *)decoded;
    return decoded == words[1];
}

static inline void hk_put_before(void *block, void *next) /* next: a block, or hk_chain_end */
{
    hk_word *words = (hk_word *)block;
    words[1] = (uintptr_t)next;
    words[0] = (uintptr_t)next ^ hk_secret;
}

static inline void hk_clear_mark(void *block)
{
    *(hk_word *)block = 0;
}

/* The same with NULL for the end, off the fast paths. */
static inline void *hk_end_to_null(void *block)
{
    return block == (const void *)hk_chain_end ? NULL : block;
}

static inline void *hk_null_to_end(void *block)
{
    return block != NULL ? block : (void *)(uintptr_t)hk_chain_end;
}

static inline bool hk_is_sound(const void *block)
{
    void *next;
    return hk_next_in_chain(block, &next);
}

/* block: sound, or marked and not to be believed. */
static inline void *hk_link(const void *block)
{
    void *next;
    hk_next_in_chain(block, &next);
    return hk_end_to_null(next);
}

/* What the other word says of the same. */
static inline void *hk_bare_link(const void *block)
{
    return hk_end_to_null((void *)((const hk_word *)block)[1]);
}

static inline void hk_set_link(void *block, void *next)
{
    hk_put_before(block, hk_null_to_end(next));
}

#endif
