/* lock.h - a futex lock: no bare spin, so that many more threads than processors make progress.
 * state: 0 free, 1 held, 2 held and someone may sleep. (U. Drepper, "Futexes Are Tricky", mutex 2.) */
#ifndef HK_LOCK_H
#define HK_LOCK_H

#include "base.h"

struct hk_lock {
    uint32_t state; /* any */
};

/* owner: how many locks and slow paths the thread is in: a fork in a signal handler sees whether it interrupted one. Counted before
 * a lock is waited for, and until after it is let go. */
extern HK_HIDDEN HK_TLS uint32_t hk_depth;

/* owner: not NULL while the thread holds all locks for a fork: lets go of them, if the thread itself comes to wait for one. */
extern HK_HIDDEN HK_TLS void (*hk_let_go_of_all)(void);

static inline void hk_enter(void)
{
    hk_depth++;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void hk_leave(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    hk_depth--;
}

#define HK_LOCK_FREE \
    {                \
        0            \
    }

HK_HIDDEN void hk_lock_wait(struct hk_lock *lock); /* the slow paths, in lock.c */
HK_HIDDEN void hk_lock_wake(struct hk_lock *lock);

static inline bool hk_lock_take(struct hk_lock *lock)
{
    uint32_t expected = 0;
    return __atomic_compare_exchange_n(&lock->state, &expected, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline bool hk_try_lock(struct hk_lock *lock)
{
    hk_enter();
    bool taken = hk_lock_take(lock);
    if (!taken)
        hk_leave();
    return taken;
}

static inline void hk_lock(struct hk_lock *lock)
{
    hk_enter();
    if (hk_unlikely(!hk_lock_take(lock)))
        hk_lock_wait(lock);
}

static inline void hk_unlock(struct hk_lock *lock)
{
    if (hk_unlikely(__atomic_exchange_n(&lock->state, 0, __ATOMIC_RELEASE) == 2))
        hk_lock_wake(lock);
    hk_leave();
}

static inline bool hk_lock_is_held(const struct hk_lock *lock) /* for asserts, and for a child of fork */
{
    return atomic_load_relaxed(&lock->state) != 0;
}

/* In the only thread of a forked child: free, whoever held it. */
static inline void hk_lock_reset(struct hk_lock *lock)
{
    atomic_store_relaxed(&lock->state, 0);
}

#endif
