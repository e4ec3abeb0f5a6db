/* meta.h - memory for hakmem's own tables: carved from mappings of its own, out of any block's reach. */
#ifndef HK_META_H
#define HK_META_H

#include "base.h"

/* Every mapping of metadata that meta_alloc() made begins so. */
struct meta_chunk {
    struct meta_chunk *next; /* const: the one mapped before */
    size_t length;           /* const: bytes, this header included */
};
extern HK_HIDDEN struct meta_chunk *meta_chunks; /* lock: meta; the one mapped last */

#define META_SIZE_MAX ((size_t)64 << 10)

/* `size` bytes (at most META_SIZE_MAX), zero-filled, aligned to a cache line; NULL with ENOMEM when the kernel refuses. Takes the meta lock, which
 * is the last in the order of locks. What is freed is kept by size, for the next of the same size. */
HK_HIDDEN void *meta_alloc(size_t size);
HK_HIDDEN void meta_free(void *ptr, size_t size);

/* Bytes mapped for metadata, and of those in use. */
HK_HIDDEN size_t meta_mapped(void);
HK_HIDDEN size_t meta_used(void);

HK_HIDDEN void meta_before_fork(void);
HK_HIDDEN void meta_after_fork(bool raw_child);

#endif
