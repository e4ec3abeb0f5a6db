/* thread.h - the threads that have a cache: what of a thread's state need not be in its TLS, and the list of them. */
#ifndef HK_THREAD_H
#define HK_THREAD_H

#include "base.h"
#include "sample.h"
#include "size_class.h"
#include "thread_cache.h"

/* Bytes that every thread's cache may hold in all; beyond them it claims of what all threads have together. So 2,000 threads that
 * worked once and sleep hold 40 KiB each. */
#define HK_OWN_LIMIT ((size_t)48 << 10)

/* A class reports at most so often in a thread, and of threads that live shortly one reports in that time. A hit of a watched probe
 * costs 0.7 us, and as much again where it throws the processor's predictions away: with 72 classes 0.1 to 0.5 % of a thread's time. */
#define HK_REPORT_MS 64u

/* What the slow paths keep per thread and class. All owner:, but after fork, when the child's one thread owns all. */
struct cache_class {
    uint16_t budget, room; /* as last written to, or read from, the bin */
    uint16_t clock;        /* the budget to give next: lower when time passes fast between ticks */
    uint32_t length;       /* of the list at that time */
    uint32_t capacity;     /* blocks: a longer list is drained at its next slow free */
    uint32_t taken;     /* blocks refilled less drained, a quarter less at each sweep: what a refill is measured by */
    uint32_t tick_ms;   /* low 32 bits of the clock when the budget last ran out */
    uint32_t room_ms;   /* when the room did */
    uint32_t report_ms; /* and at the last report */
    uint32_t report_misses; /* since then */
    uint64_t report_allocs;
    uint64_t hits;  /* allocations since the last miss */
    bool active;    /* anything since the last sweep */
    bool allocates; /* an allocation since then */
    bool missed;    /* a miss since then */
    bool cut;       /* the budget was given for what is to be sampled next, not by the clock */
    struct sample_clock sample;
    uint32_t doublings; /* of the mean that the next sample for a heap profile was drawn with: see struct sample_rate */
};

struct hk_thread {
    struct hk_tls *tls;            /* const: */
    uint32_t tid;                  /* const: but in a child of fork */
    struct hk_thread *next, *prev; /* lock: threads */
    size_t limit;                  /* owner: bytes; granted <= limit, but for a while when the limit was lowered */
    size_t granted;                /* owner: sum of capacity * size over the classes */
    uint64_t sweep_ms, hurry_ms;   /* owner: */
    unsigned exit_rounds;          /* owner: */
    uint64_t random;               /* owner: see sample_draw() */
    struct cache_class classes[HK_CACHED_CLASSES];
};

extern HK_HIDDEN struct hk_thread *hk_threads; /* lock: threads; those that have a cache, the latest first */

/* hk_tls.self of a thread whose cache is gone; NULL: it has none yet. */
#define HK_THREAD_ENDED ((struct hk_thread *)1)

static inline bool thread_has_cache(const struct hk_thread *self)
{
    return (uintptr_t)self > (uintptr_t)HK_THREAD_ENDED;
}

/* The calling thread, made at its first slow path; NULL when it has ended, memory for it is refused, or caches are not allowed
 * yet: it is then served without a cache. Also where a child of a raw clone finds out that it is one. */
HK_HIDDEN struct hk_thread *thread_enter_slow(void);
extern HK_HIDDEN volatile uint32_t *thread_fork_token;

/* In a child: the token reads 1 again. */
static inline void thread_fork_token_restore(void)
{
    if (*thread_fork_token == 0)
        *thread_fork_token = 1;
}

static inline struct hk_thread *thread_enter(void)
{
    struct hk_thread *thread = hk_tls.self;
    if (hk_unlikely(!thread_has_cache(thread) || *thread_fork_token == 0))
        return thread_enter_slow();
    return thread;
}

/* Once, from heap_init(). */
HK_HIDDEN void thread_init(void);

/* From the constructor, once, but never in hardened mode. Before it, ld.so may still fill the TLS anew (resolvers of indirect functions may allocate), and
 * what is kept there would be lost. */
HK_HIDDEN void thread_allow_caches(void);

/* The calling thread's cache is drained and it has none from now on (thread exit, exit(3)). */
HK_HIDDEN void thread_end(void);

/* Whether `block` lies in some thread's list of its class. Other threads go on meanwhile: to be believed when true. */
HK_HIDDEN bool thread_lists_hold(unsigned class_idx, const void *block);

HK_HIDDEN void thread_before_fork(void);
/* raw_child: no before_fork was called, locks may be held by threads that are not here. interrupted: nor is the calling thread's own
 * cache to be relied on. */
HK_HIDDEN void thread_after_fork(bool child, bool raw_child, bool interrupted);

#endif
