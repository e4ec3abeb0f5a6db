/* thread_cache.h - per thread and class a LIFO of free blocks, with two counters that are also the account.
 *
 *   length = settled.length - (settled.budget - budget) + (settled.room - room)
 *
 * malloc alone lowers budget and free alone lowers room, each by one instruction whose flags are also the way to the slow
 * path; so a slow path knows exactly how many of each came since the last one ("settles" them). Every exit of a slow path
 * writes both anew. A thread begins with a budget of 0 and a room of 1: its first call of each goes to the slow path.
 *
 * fit tells in free whether a pointer is the start of a block: for n = (its offset in its unit + 1) mod 2^16
 *
 *   n * fit mod 2^32 >= fit  <=>  n - 1 is a multiple of the class's size, and a block of it lies there
 *
 * but for one odd address in 65536 that passes: the byte behind the first of the rest that a unit has no block in, where there is
 * one. (With f = 2^32 - fit, n = 1 + k size gives k e - f, where e = 2^32 - f size is such that f / blocks < e <= f / (blocks - 1):
 * it reaches 0 when k reaches the unit's number of blocks. Other n lie f or more below, and n = 0 gives 0.) */
#ifndef HK_THREAD_CACHE_H
#define HK_THREAD_CACHE_H

#include "account.h"
#include "base.h"
#include "chain.h"
#include "size_class.h"

struct hk_bin {
    void *head;      /* owner: the block freed last; its first word is the encoded link to the next */
    uint16_t budget; /* owner: mallocs until the one that takes the slow path */
    uint16_t room;   /* owner: frees until then, that one included: 1 or more */
    uint32_t fit;    /* const: 0 in bins[0] */
};
#define HK_ROOM_MAX UINT16_MAX

/* bins[0] is that of HK_CODE_NONE: no head, no budget, a room of 1, for ever. */
#define HK_BINS (HK_CACHED_CLASSES + 1)

struct hk_thread;

struct hk_tls {
    struct hk_bin bins[HK_BINS];
    struct hk_thread *self; /* owner: NULL before the first slow path; see thread.c for the other states */
};
extern HK_HIDDEN HK_TLS struct hk_tls hk_tls;

static inline struct hk_bin *hk_bin_of_code(size_t code)
{
    return (struct hk_bin *)(void *)((char *)hk_tls.bins + code * 8);
}

/* From now on the bin's calls all take the slow path. */
static inline void hk_bin_close(struct hk_bin *bin)
{
    bin->head = NULL;
    bin->budget = 0;
    bin->room = 1;
}

/* The calling thread's bins, for the fast paths: one instruction for each access, counters included (a compiler makes load,
 * subtract and store of them, and adds the thread pointer by one more). TSan and other machines get the plain form. */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)

/* offset mod 2^16, here and now, so that offset need not be kept. */
static inline uint32_t hk_in_unit(uintptr_t offset)
{
    uint32_t n = (uint16_t)offset;
    __asm__ volatile("" : "+r"(n));
    return n;
}

static inline size_t hk_bins(void)
{
    size_t offset;
    __asm__("movq hk_tls@gottpoff(%%rip), %0" : "=r"(offset));
    return offset;
}

/* Lower the budget of the code's bin; true when it was 0 already (and now wraps, for the slow path to mend). */
static inline bool hk_bin_spend_budget(size_t bins, size_t code)
{
    bool borrow;
    __asm__ volatile("subw $1, %%fs:%c3(%1,%2,8)"
                     : "=@ccb"(borrow)
                     : "r"(bins), "r"(code), "i"(offsetof(struct hk_bin, budget))
                     : "memory");
    return borrow;
}

/* Lower the room of the code's bin; true when it is used up, or when n does not fit. dec leaves the carry of cmp alone. */
static inline bool hk_bin_spend_room(size_t bins, size_t code, uint32_t n)
{
    bool stop;
    __asm__ volatile("imull %%fs:%c4(%2,%3,8), %1\n\t"
                     "cmpl %%fs:%c4(%2,%3,8), %1\n\t"
                     "decw %%fs:%c5(%2,%3,8)"
                     : "=@ccbe"(stop), "+&r"(n)
                     : "r"(bins), "r"(code), "i"(offsetof(struct hk_bin, fit)), "i"(offsetof(struct hk_bin, room))
                     : "memory");
    return stop;
}

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

static inline uint32_t hk_in_unit(uintptr_t offset)
{
    return (uint16_t)offset;
}

static inline char *hk_bins(void)
{
    return (char *)&hk_tls;
}

static inline bool hk_bin_spend_budget(char *bins, size_t code)
{
    return ((struct hk_bin *)(void *)(bins + code * 8))->budget-- == 0;
}

static inline bool hk_bin_spend_room(char *bins, size_t code, uint32_t n)
{
    struct hk_bin *bin = (struct hk_bin *)(void *)(bins + code * 8);
    return --bin->room == 0 || n * bin->fit < bin->fit;
}

static inline void *hk_bin_head(const char *bins, size_t code)
{
    return ((const struct hk_bin *)(const void *)(bins + code * 8))->head;
}

static inline void hk_bin_set_head(char *bins, size_t code, void *head)
{
    ((struct hk_bin *)(void *)(bins + code * 8))->head = head;
}

#endif

/* The slow path of malloc for sizes up to HK_CACHED_MAX: budget or blocks have run out, or the first block has lost its mark,
 * which is misuse. NULL with ENOMEM. */
HK_HIDDEN void *cache_alloc_slow(size_t size);

/* The slow path of free for a block of a cached class: no room, or a block from legacy. `block` passed the checks. */
HK_HIDDEN void cache_free_slow(unsigned class_idx, void *block);

/* Once, from heap_init(). */
HK_HIDDEN void cache_init(void);

/* Add what the calling thread's counters tell to the account, so that it is exact for this thread. */
HK_HIDDEN void cache_settle_all(void);

/* Give everything that the calling thread's cache holds to the slabs. */
HK_HIDDEN void cache_drain_all(enum hk_drain_reason reason);

/* At a thread's end: the same, and what it claimed is free for others. The thread has a cache. */
HK_HIDDEN void cache_end(void);

/* In a child of fork: the other threads' shares of what caches may hold are free. */
HK_HIDDEN void cache_after_fork(void);

/* Blocks of the class in the calling thread's cache. */
HK_HIDDEN uint32_t cache_length(unsigned class_idx);

#endif
