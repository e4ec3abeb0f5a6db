/* canary.h - hardened mode: what stands behind the bytes that the program asked for.
 *
 *   | size bytes of the program's | fill, up to CANARY_FILL_MAX | zeros | word |
 *   |<-------------------------- block_size -------------------------->|
 *
 * The word is the block's last eight bytes. Its first byte in memory is the fill's, never 0, so that a string's end one byte too
 * far shows; the others hold the gap, block_size - 8 - size, multiplied by an odd constant and xored with a key of the block's
 * address and the process's secret: a word that was written to tells a gap that the block has no room for. */
#ifndef HK_CANARY_H
#define HK_CANARY_H

#include "base.h"

#define CANARY_BYTES 8u       /* what a block needs more than the request */
#define CANARY_FILL_MAX 1024u /* all of the gap in blocks up to 8 KiB that are not aligned to more than their size */

enum canary_state { CANARY_LIVE, CANARY_FREED, CANARY_BROKEN };

/* Once, from heap_init(): draw the secret. */
HK_HIDDEN void canary_init(void);

/* Write fill and word. block_size: a multiple of 8, `size` + CANARY_BYTES at least. */
HK_HIDDEN void canary_seal(void *block, size_t block_size, size_t size);

/* Write zeros there again. The block is sealed. */
HK_HIDDEN void canary_unseal(void *block, size_t block_size);

/* What the block is; *size is what was asked for where it is live and nothing of fill and word was written to. */
HK_HIDDEN enum canary_state canary_read(const void *block, size_t block_size, size_t *size);

/* Whether nothing was written to the fill and the word of a live block. */
static inline bool canary_is_whole(const void *block, size_t block_size)
{
    size_t size;
    return canary_read(block, block_size, &size) == CANARY_LIVE;
}

/* Zero a live block but for its word, which says from now on that it is freed. Returns what the block was: of several threads that
 * call it at once for the same block one gets CANARY_LIVE. */
HK_HIDDEN enum canary_state canary_wipe(void *block, size_t block_size);

/* Zero the word of a block that was wiped. False: something was written to the block since. */
HK_HIDDEN bool canary_unwipe(void *block, size_t block_size);

/* Whether all of the block is zero. size: a multiple of 8. */
HK_HIDDEN bool canary_is_zero(const void *block, size_t size);

#endif
