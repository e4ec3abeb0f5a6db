/* canary.c - see canary.h. */
#include "canary.h"

#include <string.h>

#include "os.h"

#define SPREAD UINT64_C(0x9e3779b97f4a7c15)   /* odd */
#define UNSPREAD UINT64_C(0xf1de83e19937733d) /* SPREAD * UNSPREAD = 1 modulo 2^64 */
#define GAP_BITS 56u
#define GAP_MASK ((UINT64_C(1) << GAP_BITS) - 1)
#define GAP_FREED GAP_MASK /* no block is as long */

_Static_assert(SPREAD *UNSPREAD == 1, "the one takes back what the other does");

static uint64_t secret; /* const: after canary_init() */
static uint8_t fill;    /* const: after canary_init(); neither 0 nor 0xff, nor a letter */

void canary_init(void)
{
    secret = os_random64();
    fill = (uint8_t)(0x80 + os_random64() % 0x7f);
}

static uint64_t *word_of(const void *block, size_t block_size)
{
    return (uint64_t *)((uintptr_t)block + block_size - CANARY_BYTES);
}

/* The word's first byte in memory is its lowest. */
static uint64_t in_memory(uint64_t word)
{
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? word : __builtin_bswap64(word);
}

static uint64_t key_of(const void *block)
{
    uint64_t key = ((uintptr_t)block ^ secret) * SPREAD;
    return (key ^ key >> 32) * UNSPREAD >> (64 - GAP_BITS);
}

static uint64_t word_for(const void *block, uint64_t gap)
{
    return in_memory((((gap * SPREAD) ^ key_of(block)) & GAP_MASK) << 8 | fill);
}

/* GAP_MASK at most; of a word whose first byte is not the fill's that is no gap at all. */
static uint64_t gap_of(const void *block, uint64_t word)
{
    word = in_memory(word);
    if ((uint8_t)word != fill)
        return GAP_MASK - 1;
    return ((word >> 8 ^ key_of(block)) * UNSPREAD) & GAP_MASK;
}

static size_t fill_length(uint64_t gap)
{
    return gap < CANARY_FILL_MAX ? (size_t)gap : CANARY_FILL_MAX;
}

void canary_seal(void *block, size_t block_size, size_t size)
{
    uint64_t gap = block_size - CANARY_BYTES - size;
    memset((uint8_t *)block + size, fill, fill_length(gap));
    atomic_store_relaxed(word_of(block, block_size), word_for(block, gap));
}

void canary_unseal(void *block, size_t block_size)
{
    uint64_t *word = word_of(block, block_size), gap = gap_of(block, *word);
    memset((uint8_t *)word - gap, 0, fill_length(gap));
    atomic_store_relaxed(word, 0);
}

static enum canary_state state_of(const void *block, size_t block_size, uint64_t word, size_t *size)
{
    uint64_t gap = gap_of(block, word);
    if (gap == GAP_FREED)
        return CANARY_FREED;
    if (gap > block_size - CANARY_BYTES)
        return CANARY_BROKEN;
    const uint8_t *from = (const uint8_t *)word_of(block, block_size) - gap;
    for (size_t i = 0; i < fill_length(gap); i++)
        if (from[i] != fill)
            return CANARY_BROKEN;
    *size = block_size - CANARY_BYTES - (size_t)gap;
    return CANARY_LIVE;
}

enum canary_state canary_read(const void *block, size_t block_size, size_t *size)
{
    return state_of(block, block_size, atomic_load_relaxed(word_of(block, block_size)), size);
}

enum canary_state canary_wipe(void *block, size_t block_size)
{
    size_t size = 0;
    uint64_t *word = word_of(block, block_size), live = atomic_load_relaxed(word);
    enum canary_state state = state_of(block, block_size, live, &size);
    if (state != CANARY_LIVE)
        return state;
    if (!atomic_cas_acq_rel(word, &live, word_for(block, GAP_FREED)))
        return CANARY_FREED; /* by another thread, just now */
    memset(block, 0, size + fill_length(block_size - CANARY_BYTES - size));
    return CANARY_LIVE;
}

bool canary_unwipe(void *block, size_t block_size)
{
    uint64_t *word = word_of(block, block_size);
    if (*word != word_for(block, GAP_FREED) || !canary_is_zero(block, block_size - CANARY_BYTES))
        return false;
    *word = 0;
    return true;
}

bool canary_is_zero(const void *block, size_t size)
{
    const uint64_t *word = block, *end = word + size / 8;
    uint64_t any = 0;
    for (; (size_t)(end - word) >= 4; word += 4)
        any |= word[0] | word[1] | word[2] | word[3];
    for (; word < end; word++)
        any |= *word;
    return any == 0;
}
