/* size_class.h - which class serves a size. Pure arithmetic and constant tables.
 *
 * Classes 0..HK_SMALL_CLASSES-1     16 B .. 8 KiB     a slab is one unit                       (shared pool)
 *         ..HK_CACHED_CLASSES-1     9 KiB .. 32 KiB   "mid": a slab is HK_MID_UNITS units,      (shared pool, ACE's caps)
 *                                                     no block straddles two
 *         ..HK_SIZED_CLASSES-1      36 KiB .. 2 MiB   "large": a run of units for each block    (ACE)
 *         HK_CLASS_HUGE             above             a mapping of its own for each block       (ACE)
 *
 * Steps of 16 bytes up to 256, then eight classes a doubling: size(c) - size(c-1) <= size(c-1) / 8 from 128 bytes up,
 * so that rounding wastes at most an eighth. */
#ifndef HK_SIZE_CLASS_H
#define HK_SIZE_CLASS_H

#include "base.h"

#define HK_SMALL_CLASSES 56u
#define HK_CACHED_CLASSES 72u /* those which the thread cache fronts */
#define HK_SIZED_CLASSES 120u
#define HK_CLASS_HUGE HK_SIZED_CLASSES
#define HK_ACCOUNT_CLASSES (HK_CLASS_HUGE + 1)

#define HK_SMALL_MAX ((size_t)8 << 10)
#define HK_CACHED_MAX ((size_t)32 << 10)
#define HK_LARGE_MAX ((size_t)2 << 20)
#define HK_MID_UNITS 4u

/* A code is a class's bin: its offset in bytes among a thread's bins. Code 0 is "no class": the bin that never has room. */
#define HK_BIN_SIZE 16u
#define HK_CODE_NONE 0u
#define HK_CODE_OF_CLASS(c) (((c) + 1) * HK_BIN_SIZE)
#define HK_CLASS_OF_CODE(code) ((code) / HK_BIN_SIZE - 1)

/* For tables: the block size of class c, a constant expression of c; a list of(0), of(1), … for every cached class. */
#define HK_CLASS_OCTAVE(c) ((c) < 16 ? 0 : ((c)-16) / 8)
#define HK_CLASS_SIZE(c) ((c) < 16 ? 16u * ((c) + 1) : (32u << HK_CLASS_OCTAVE(c)) * ((c) % 8 + 9))
#define HK_EIGHT_CLASSES(of, c) \
    of(c), of((c) + 1), of((c) + 2), of((c) + 3), of((c) + 4), of((c) + 5), of((c) + 6), of((c) + 7)
#define HK_EACH_CACHED_CLASS(of)                                                                                \
    HK_EIGHT_CLASSES(of, 0), HK_EIGHT_CLASSES(of, 8), HK_EIGHT_CLASSES(of, 16), HK_EIGHT_CLASSES(of, 24),       \
        HK_EIGHT_CLASSES(of, 32), HK_EIGHT_CLASSES(of, 40), HK_EIGHT_CLASSES(of, 48), HK_EIGHT_CLASSES(of, 56), \
        HK_EIGHT_CLASSES(of, 64)

/* Code by (size + 15) / 16 for sizes up to HK_CACHED_MAX. */
extern HK_HIDDEN const uint16_t hk_code_of_size[HK_CACHED_MAX / HK_ALIGNMENT + 1];

/* Block size in bytes by class; HK_CLASS_HUGE has 0. */
extern HK_HIDDEN const uint32_t hk_class_size[HK_ACCOUNT_CLASSES];

/* ceil(2^32 / size) by cached class: offset * magic >> 32 is offset / size, exact for offsets within a unit. */
extern HK_HIDDEN const uint32_t hk_class_magic[HK_CACHED_CLASSES];

/* How many blocks of a cached class lie in a unit; none straddles two. */
static inline unsigned hk_blocks_per_unit(unsigned c)
{
    return (unsigned)(HK_UNIT_SIZE / hk_class_size[c]);
}

/* The class that serves `size` bytes, 0 <= size <= HK_LARGE_MAX; HK_CLASS_HUGE above. */
static inline unsigned hk_class_of_size(size_t size)
{
    if (size <= 256)
        return size <= 16 ? 0 : (unsigned)((size - 1) >> 4);
    if (size > HK_LARGE_MAX)
        return HK_CLASS_HUGE;
    unsigned shift = 63u - (unsigned)__builtin_clzll((unsigned long long)(size - 1)); /* 2^shift <= size-1 */
    return 16u + (shift - 8u) * 8u + (unsigned)(((size - 1) >> (shift - 3u)) & 7u);
}

/* How many units a slab of a cached class, or a block of a large class, takes. */
static inline unsigned hk_class_units(unsigned c)
{
    if (c < HK_SMALL_CLASSES)
        return 1;
    if (c < HK_CACHED_CLASSES)
        return HK_MID_UNITS;
    /* cppcheck-suppress arrayIndexOutOfBoundsCond ; it takes the condition on c for one on its bound */
    return (unsigned)((hk_class_size[c] + HK_UNIT_SIZE - 1) >> HK_UNIT_SHIFT);
}

#endif
