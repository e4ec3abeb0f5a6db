/* heap.h - the whole allocator behind one face: what the exported families (export_c.c, export_cxx.cc) are made of.
 * Every function sets errno to ENOMEM when it returns NULL for want of memory, keeps errno otherwise, and is safe to call
 * from any thread; none is async-signal-safe. A pointer that is not a live block's start is misuse
 * and aborts. */
#ifndef HK_HEAP_H
#define HK_HEAP_H

#include "base.h"
#include "misuse.h"

/* `T name(...) HK_ALIAS_OF(function)`: one more name for a function that the same file defines. */
#if defined(__has_attribute) && __has_attribute(copy)
#define HK_ALIAS_OF(function) __attribute__((alias(#function), copy(function)))
#else
#define HK_ALIAS_OF(function) __attribute__((alias(#function)))
#endif

/* malloc.c and free.c; these are the exported malloc and free themselves. */
HK_EXPORT void *malloc(size_t size);
HK_EXPORT void free(void *ptr);

/* The same two (aliases in malloc.c and free.c) by names that no program can interpose: what the other families call, so
 * that they stay with this heap whatever malloc the program brings. */
HK_HIDDEN void *heap_malloc(size_t size);
HK_HIDDEN void heap_free(void *ptr);

/* Once, before anything else: configuration, region, secret. Idempotent; any thread. */
HK_HIDDEN void heap_init(void);

/* First in every call that takes a lock without having passed the thread cache: heap_init(), and in a child of a raw clone
 * heap_begin_child(), before it waits for a thread that is not there. */
HK_HIDDEN void heap_enter(void);

/* Once, from heap_init(), so that handlers of fork which are installed later are called before those of the heap take all locks. */
HK_HIDDEN void heap_catch_forks(void);

/* In a child of a raw clone, found by its first slow path. */
HK_HIDDEN void heap_begin_child(void);

/* Every NULL for want of memory passes here: errno is ENOMEM, alloc_fail fires. Returns NULL. */
HK_HIDDEN HK_COLD void *heap_out_of_memory(size_t size);

/* Where an address lies: in a slab or large run, in a huge block, in a guarded slot, or (all NULL) nowhere. */
struct slab;
struct guard_slot;
struct heap_place {
    struct slab *slab;
    void *huge;
    struct guard_slot *guard;
};
HK_HIDDEN struct heap_place heap_find(const void *ptr);

/* Abort unless ptr is the start of a block of the cached class's slab at place that is not free. */
HK_HIDDEN void heap_check_block(const struct heap_place *place, const void *ptr, enum misuse_kind twice,
                                enum misuse_kind interior);

/* Abort with the kind that fits: the place has no live block that starts at ptr. */
HK_HIDDEN HK_COLD _Noreturn void heap_misuse(const struct heap_place *place, const void *ptr, enum misuse_kind twice,
                                             enum misuse_kind interior, enum misuse_kind foreign);

/* The rest of free for a block that bears a mark: abort when it lies in a free list, else free it. */
HK_HIDDEN HK_COLD void heap_free_marked(void *ptr);

/* The size of the block that starts at ptr, 0 if none; never aborts. */
HK_HIDDEN size_t heap_block_size(const void *ptr);

/* A block of ACE's, for more than HK_CACHED_MAX bytes or an alignment that no cached class has. heap_enter() was called. */
HK_HIDDEN void *heap_alloc_large(size_t size, size_t align, bool zero);

/* A block of ACE's is about to be freed: a profiler that was told of it is told so. */
HK_HIDDEN void heap_end_sample(const struct heap_place *place, const void *ptr);

/* Zero-filled. size: any, already multiplied. */
HK_HIDDEN void *heap_calloc(size_t size);

/* align: a power of two. size 0 gives a block of its own. */
HK_HIDDEN void *heap_aligned_alloc(size_t align, size_t size);
HK_HIDDEN void *heap_aligned_calloc(size_t align, size_t size);

/* realloc in every case but ptr == NULL or size == 0, which are the families' own affair. On failure ptr is untouched.
 * `align`: the alignment that a moved block gets (HK_ALIGNMENT for realloc). */
HK_HIDDEN void *heap_realloc(void *ptr, size_t size, size_t align);

/* Resize in place to at least `size` bytes, at most size + extra; returns the usable size that ptr then has. */
HK_HIDDEN size_t heap_resize_in_place(void *ptr, size_t size, size_t extra);

/* Bytes usable at ptr: the block's size. 0 for NULL. */
HK_HIDDEN size_t heap_usable_size(const void *ptr);

/* The block size that a request of `size` bytes at `align` gets; 0 if it can't be served. */
HK_HIDDEN size_t heap_good_size(size_t size, size_t align);

/* free (of NULL too), but `size` must be one for which the block could have been allocated with `align` (0: not known),
 * else it is misuse. */
HK_HIDDEN void heap_free_sized(void *ptr, size_t size, size_t align);

/* Drain the calling thread's cache and give all central free memory but `keep` bytes back to the system.
 * Returns the bytes given back. */
HK_HIDDEN size_t heap_trim(size_t keep);

/* Periodic work, at a tick: decay and bounds. Cheap when nothing is due. */
HK_HIDDEN void heap_tick(uint64_t now_ms);

#endif
