/* chain.h - free blocks linked through their first words: what thread caches hold and the shared pool passes on.
 *
 * For a free block at p whose next is n (NULL at the end):   p[0] = n ^ secret
 * Addresses end below bit 47, so the upper 16 bits of p[0] are those of the secret: the mark, HK_MARK in every process. malloc
 * clears the word. So the second free of a block sees the mark, and a free block that was written to has lost it, known before
 * its link is followed. A live block may bear it by chance: it says "look", and no more. */
#ifndef HK_CHAIN_H
#define HK_CHAIN_H

#include "base.h"

/* No address begins so, no text in UTF-8 holds it, no integer or floating-point number of usual size. An immediate operand of
 * the fast paths; of 8 bits when its sign is extended, since one of 16 stalls decoders. */
#define HK_MARK 0xFF81u
#define HK_MARK_SHIFT 48u
#define HK_MARK_WORD (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 3 : 0) /* the 16-bit word of p[0] that holds it */

/* const: after heap_init(). Its upper 16 bits are HK_MARK. */
extern HK_HIDDEN uintptr_t hk_secret;

struct hk_chain {
    void *head;
    uint32_t count; /* head == NULL <=> count == 0 */
};

static inline bool hk_is_marked(const void *block)
{
    typedef uint16_t __attribute__((may_alias)) half_word;
    return ((const half_word *)block)[HK_MARK_WORD] == HK_MARK;
}

/* block: marked. */
static inline void *hk_link(const void *block)
{
    return (void *)(*(const uintptr_t *)block ^ hk_secret);
}

static inline void hk_set_link(void *block, const void *next)
{
    *(uintptr_t *)block = (uintptr_t)next ^ hk_secret;
}

static inline void hk_clear_mark(void *block)
{
    *(uintptr_t *)block = 0;
}

#endif
