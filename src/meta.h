/* meta.h - memory for hakmem's own tables: carved from mappings of its own, out of any block's reach. */
#ifndef HK_META_H
#define HK_META_H

#include "base.h"

/* `size` bytes, zero-filled, aligned to a cache line; NULL with ENOMEM when the kernel refuses. Takes the meta lock, which
 * is the last in the order of locks. What is freed is kept by size, for the next of the same size. */
HK_HIDDEN void *meta_alloc(size_t size);
HK_HIDDEN void meta_free(void *ptr, size_t size);

/* Bytes mapped for metadata, and of those in use. */
HK_HIDDEN size_t meta_mapped(void);
HK_HIDDEN size_t meta_used(void);

HK_HIDDEN void meta_before_fork(void);
HK_HIDDEN void meta_after_fork(bool raw_child);

#endif
