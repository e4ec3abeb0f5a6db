/* lock.h - a futex lock: no bare spin, so that many more threads than processors make progress.
 * state: 0 free, 1 held, 2 held and someone may sleep. (U. Drepper, "Futexes Are Tricky", mutex 2.) */
#ifndef HK_LOCK_H
#define HK_LOCK_H

#include "base.h"

struct hk_lock {
    uint32_t state; /* any */
};

#define HK_LOCK_FREE \
    {                \
        0            \
    }

HK_HIDDEN void hk_lock_wait(struct hk_lock *lock); /* the slow paths, in lock.c */
HK_HIDDEN void hk_lock_wake(struct hk_lock *lock);

static inline bool hk_try_lock(struct hk_lock *lock)
{
    uint32_t expected = 0;
    return __atomic_compare_exchange_n(&lock->state, &expected, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline void hk_lock(struct hk_lock *lock)
{
    if (hk_unlikely(!hk_try_lock(lock)))
        hk_lock_wait(lock);
}

static inline void hk_unlock(struct hk_lock *lock)
{
    if (hk_unlikely(__atomic_exchange_n(&lock->state, 0, __ATOMIC_RELEASE) == 2))
        hk_lock_wake(lock);
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
