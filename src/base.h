/* base.h - the words and the measures that every layer shares. Includes no other file of hakmem. */
#ifndef HK_BASE_H
#define HK_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define hk_likely(x) __builtin_expect(!!(x), 1)
#define hk_unlikely(x) __builtin_expect(!!(x), 0)
#define HK_HIDDEN __attribute__((visibility("hidden")))
#define HK_EXPORT __attribute__((visibility("default")))
#define HK_COLD __attribute__((cold, noinline))
#define HK_HOT __attribute__((aligned(64))) /* begins a cache line, wherever what is before it ends */
#define HK_NOINLINE __attribute__((noinline))
#define HK_TLS _Thread_local __attribute__((tls_model("initial-exec")))

/* The measures of memory. A unit is what one entry of the slab map speaks of; a SuperSlab is what is asked of the
 * kernel at once. Both are powers of two, and no smaller than any page size of the supported machines. */
#define HK_UNIT_SHIFT 16u
#define HK_UNIT_SIZE ((size_t)1 << HK_UNIT_SHIFT) /* 64 KiB */
#define HK_SUPERSLAB_SHIFT 21u
#define HK_SUPERSLAB_SIZE ((size_t)1 << HK_SUPERSLAB_SHIFT)                 /* 2 MiB */
#define HK_UNITS_PER_SUPERSLAB (1u << (HK_SUPERSLAB_SHIFT - HK_UNIT_SHIFT)) /* 32 */

#define HK_ALIGNMENT 16u /* of every block */
#define HK_CACHE_LINE 64u

static inline uintptr_t hk_align_up(uintptr_t n, uintptr_t align) /* align: a power of two */
{
    return (n + align - 1) & ~(align - 1);
}

static inline uintptr_t hk_align_down(uintptr_t n, uintptr_t align)
{
    return n & ~(align - 1);
}

static inline bool hk_is_power_of_two(size_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* Atomics with the memory order in the name. Loads and stores of a field that is only ever written under a lock, but
 * read without it, are `relaxed`. */
#define atomic_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define atomic_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define atomic_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define atomic_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define atomic_add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define atomic_sub_relaxed(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_RELAXED)
#define atomic_exchange_acq_rel(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
#define atomic_cas_acq_rel(p, expected, desired) \
    __atomic_compare_exchange_n((p), (expected), (desired), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)

#endif
