/* thread_cache.h - per thread and class a LIFO of free blocks, with two counters that are also the account.
 *
 *   length = settled.length - (settled.budget - budget) + (settled.room - room)
 *
 * malloc alone lowers budget and free alone lowers room, each by one instruction whose borrow is also the way to the slow
 * path; so a slow path knows exactly how many of each came since the last one ("settles" them). Every exit of a slow path
 * writes both anew. Zeroed counters mean "go to the slow path": a thread begins so. */
#ifndef HK_THREAD_CACHE_H
#define HK_THREAD_CACHE_H

#include "account.h"
#include "base.h"
#include "chain.h"
#include "size_class.h"

struct hk_bin {
    void *head;      /* owner: the block freed last; its first word is the encoded link to the next */
    uint32_t budget; /* owner: mallocs until the next tick */
    uint32_t room;   /* owner: frees until the next slow entry */
};

/* bins[0] is that of HK_CODE_NONE: no head, no budget, no room, for ever. */
#define HK_BINS (HK_CACHED_CLASSES + 1)

struct hk_thread;

struct hk_tls {
    struct hk_bin bins[HK_BINS];
    struct hk_thread *self; /* owner: NULL before the first slow path; see thread.c for the other states */
};
extern HK_HIDDEN HK_TLS struct hk_tls hk_tls;

/* The calling thread's bins, for the fast paths: one instruction for each access, counters included (a compiler makes load,
 * subtract and store of them, and adds the thread pointer by one more). TSan and other machines get the plain form. */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)

static inline size_t hk_bins(void)
{
    size_t offset;
    __asm__("movq hk_tls@gottpoff(%%rip), %0" : "=r"(offset));
    return offset;
}

/* Lower a counter of the code's bin; true when it was 0 already (and now wraps, for the slow path to mend). */
#define HK_BIN_SPEND(bins, code, counter)                                                          \
    __extension__({                                                                                \
        bool borrow_;                                                                              \
        __asm__ volatile("subl $1, %%fs:%c3(%1,%2,8)"                                              \
                         : "=@ccb"(borrow_)                                                        \
                         : "r"(bins), "r"((size_t)(code)), "i"(offsetof(struct hk_bin, counter))); \
        borrow_;                                                                                   \
    })

static inline void *hk_bin_head(size_t bins, size_t code)
{
    void *head;
    __asm__ volatile("movq %%fs:(%1,%2,8), %0" : "=r"(head) : "r"(bins), "r"(code));
    return head;
}

static inline void hk_bin_set_head(size_t bins, size_t code, void *head)
{
    __asm__ volatile("movq %0, %%fs:(%1,%2,8)" : : "r"(head), "r"(bins), "r"(code));
}

#else

static inline char *hk_bins(void)
{
    return (char *)&hk_tls;
}

#define HK_BIN_SPEND(bins, code, counter) (((struct hk_bin *)(void *)((bins) + (code)*8))->counter-- == 0)

static inline void *hk_bin_head(const char *bins, size_t code)
{
    return ((const struct hk_bin *)(const void *)(bins + code * 8))->head;
}

static inline void hk_bin_set_head(char *bins, size_t code, void *head)
{
    ((struct hk_bin *)(void *)(bins + code * 8))->head = head;
}

#endif

/* The slow path of malloc for sizes up to HK_CACHED_MAX: budget or blocks have run out. NULL with ENOMEM. */
HK_HIDDEN void *cache_alloc_slow(size_t size);

/* The slow path of free for a block of a cached class: no room, or a block from legacy. `block` passed the checks. */
HK_HIDDEN void cache_free_slow(unsigned class_idx, void *block);

/* Add what the calling thread's counters tell to the account, so that it is exact for this thread. */
HK_HIDDEN void cache_settle_all(void);

/* Give everything that the calling thread's cache holds to the slabs. */
HK_HIDDEN void cache_drain_all(enum hk_drain_reason reason);

/* Blocks of the class in the calling thread's cache. */
HK_HIDDEN uint32_t cache_length(unsigned class_idx);

#endif
