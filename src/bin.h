/* bin.h - what the fast paths touch of a thread: per class a LIFO of free blocks, with two counters that are also the account.
 *
 *   length = settled.length - (settled.budget - budget) + (settled.room - room)
 *
 * malloc alone lowers budget and free alone lowers room, each by one instruction whose flags are also the way to the slow
 * path; so a slow path knows exactly how many of each came since the last one ("settles" them). Every exit of a slow path
 * writes both anew. A thread begins with a budget of 0 and a room of 1: its first call of each goes to the slow path.
 *
 * fit tells in free whether a pointer is the start of a block: for its offset n in its unit
 *
 *   n * fit mod 2^32 + fit < 2^32  <=>  n is a multiple of the class's size, and a block of it lies there
 *
 * but for one odd address in 65536 that passes: the byte behind the first of the rest that a unit has no block in, where there is
 * one. (With f = 2^32 - fit, n = k size gives k e, where e = 2^32 - f size is such that f / blocks < e <= f / (blocks - 1):
 * it reaches f when k reaches the unit's number of blocks. Other n lie f or more above.) */
#ifndef HK_BIN_H
#define HK_BIN_H

#include "base.h"
#include "chain.h"
#include "size_class.h"

struct hk_bin {
    void *head;      /* owner: the block freed last, hk_chain_end for none; NULL in a thread's first moments */
    uint16_t budget; /* owner: mallocs until the one that takes the slow path */
    uint16_t room;   /* owner: frees until then, that one included: 1 or more */
    uint32_t fit;    /* const: 0 in bins[0] */
};
#define HK_ROOM_MAX UINT16_MAX
_Static_assert(sizeof(struct hk_bin) == HK_BIN_SIZE, "a code is a bin's offset");

/* bins[0] is that of HK_CODE_NONE: no head, no budget, a room of 1, for ever. */
#define HK_BINS (HK_CACHED_CLASSES + 1)

struct hk_thread;

struct hk_tls {
    struct hk_bin bins[HK_BINS]; /* none straddles cache lines */
    struct hk_thread *self;      /* owner: NULL before the first slow path; see thread.c for the other states */
} __attribute__((aligned(HK_CACHE_LINE)));
extern HK_HIDDEN HK_TLS struct hk_tls hk_tls;

/* Where a bin lies, the same number in every thread: what the slab map holds, so that free has no more to add to it. */
typedef intptr_t hk_bin_at;

/* One instruction for each access to a bin, counters included (a compiler makes load, subtract and store of them, and adds the
 * thread pointer by one more). TSan and other machines get the plain form. */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)

static inline hk_bin_at hk_bin_at_code(size_t code) /* from the thread pointer */
{
    __asm__("addq hk_tls@gottpoff(%%rip), %0" : "+r"(code));
    return (hk_bin_at)code;
}

/* Lower the budget; true when it was 0 already (and now wraps, for the slow path to mend). */
static inline bool hk_bin_spend_budget(hk_bin_at at)
{
    bool borrow;
    __asm__ volatile("subw $1, %%fs:%c2(%1)"
                     : "=@ccb"(borrow)
                     : "r"(at), "i"(offsetof(struct hk_bin, budget))
                     : "memory");
    return borrow;
}

/* Lower the room; true when it is used up, or when n does not fit. dec leaves the carry of add alone. */
static inline bool hk_bin_spend_room(hk_bin_at at, uint32_t n)
{
    bool stop;
    __asm__ volatile("imull %%fs:%c3(%2), %1\n\t"
                     "addl %%fs:%c3(%2), %1\n\t"
                     "decw %%fs:%c4(%2)"
                     : "=@ccbe"(stop), "+&r"(n)
                     : "r"(at), "i"(offsetof(struct hk_bin, fit)), "i"(offsetof(struct hk_bin, room))
                     : "memory");
    return stop;
}

static inline void *hk_bin_head(hk_bin_at at)
{
    void *head;
    __asm__ volatile("movq %%fs:(%1), %0" : "=r"(head) : "r"(at));
    return head;
}

static inline void hk_bin_set_head(hk_bin_at at, void *head)
{
    __asm__ volatile("movq %0, %%fs:(%1)" : : "r"(head), "r"(at) : "memory");
}

#else

static inline hk_bin_at hk_bin_at_code(size_t code)
{
    return (hk_bin_at)code;
}

static inline struct hk_bin *hk_bin_here(hk_bin_at at)
{
    return (struct hk_bin *)(void *)((char *)&hk_tls + at);
}

static inline bool hk_bin_spend_budget(hk_bin_at at)
{
    return hk_bin_here(at)->budget-- == 0;
}

static inline bool hk_bin_spend_room(hk_bin_at at, uint32_t n)
{
    struct hk_bin *bin = hk_bin_here(at);
    uint32_t fit = bin->fit;
    return --bin->room == 0 || n * fit > UINT32_MAX - fit;
}

static inline void *hk_bin_head(hk_bin_at at)
{
    return hk_bin_here(at)->head;
}

static inline void hk_bin_set_head(hk_bin_at at, void *head)
{
    hk_bin_here(at)->head = head;
}

#endif

static inline struct hk_bin *hk_bin_of(hk_bin_at at)
{
    return (struct hk_bin *)(void *)((char *)hk_tls.bins + (at - hk_bin_at_code(HK_CODE_NONE)));
}

/* The list's first block, NULL for none. */
static inline void *hk_bin_first(const struct hk_bin *bin)
{
    return hk_end_to_null(bin->head);
}

static inline void hk_bin_set_first(struct hk_bin *bin, void *block)
{
    bin->head = hk_null_to_end(block);
}

/* From now on the bin's calls all take the slow path. */
static inline void hk_bin_close(struct hk_bin *bin)
{
    hk_bin_set_first(bin, NULL);
    bin->budget = 0;
    bin->room = 1;
}

#endif
