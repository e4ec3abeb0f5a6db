#include "size_class.h"

/* The arithmetic of hk_class_of_size() as a constant expression, for 0 <= s <= HK_LARGE_MAX. */
#define LOG2(n) (63 - __builtin_clzll((unsigned long long)(n) | 1))
#define CLASS(s)                 \
    ((s) <= 16    ? 0            \
     : (s) <= 256 ? ((s)-1) >> 4 \
                  : 16 + (LOG2((s)-1) - 8) * 8 + ((((s)-1) >> (LOG2(((s)-1) | 256) - 3)) & 7))

#define CODE(i) (uint16_t) HK_CODE_OF_CLASS(CLASS((i)*16ll))
#define CODES_4(i) CODE(i), CODE((i) + 1), CODE((i) + 2), CODE((i) + 3)
#define CODES_16(i) CODES_4(i), CODES_4((i) + 4), CODES_4((i) + 8), CODES_4((i) + 12)
#define CODES_64(i) CODES_16(i), CODES_16((i) + 16), CODES_16((i) + 32), CODES_16((i) + 48)
#define CODES_256(i) CODES_64(i), CODES_64((i) + 64), CODES_64((i) + 128), CODES_64((i) + 192)
#define CODES_1024(i) CODES_256(i), CODES_256((i) + 256), CODES_256((i) + 512), CODES_256((i) + 768)

const uint16_t hk_code_of_size[HK_CACHED_MAX / HK_ALIGNMENT + 1] = {CODES_1024(0), CODES_1024(1024), CODE(2048)};

const uint32_t hk_class_size[HK_ACCOUNT_CLASSES] = {
    HK_EACH_CACHED_CLASS(HK_CLASS_SIZE), HK_EIGHT_CLASSES(HK_CLASS_SIZE, 72), HK_EIGHT_CLASSES(HK_CLASS_SIZE, 80),
    HK_EIGHT_CLASSES(HK_CLASS_SIZE, 88), HK_EIGHT_CLASSES(HK_CLASS_SIZE, 96), HK_EIGHT_CLASSES(HK_CLASS_SIZE, 104),
    HK_EIGHT_CLASSES(HK_CLASS_SIZE, 112)};

#define MAGIC(c) (uint32_t)(((UINT64_C(1) << 32) + HK_CLASS_SIZE(c) - 1) / HK_CLASS_SIZE(c))

const uint32_t hk_class_magic[HK_CACHED_CLASSES] = {HK_EACH_CACHED_CLASS(MAGIC)};

_Static_assert(HK_CLASS_SIZE(HK_SMALL_CLASSES - 1) == HK_SMALL_MAX, "the last small class");
_Static_assert(HK_CLASS_SIZE(HK_CACHED_CLASSES - 1) == HK_CACHED_MAX, "the last mid class");
_Static_assert(HK_CLASS_SIZE(HK_SIZED_CLASSES - 1) == HK_LARGE_MAX, "the last large class");
