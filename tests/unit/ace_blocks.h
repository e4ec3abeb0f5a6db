/* ace_blocks.h - what the tests of ACE share: blocks that know their content, and the account's identities. */
#ifndef HK_TESTS_ACE_BLOCKS_H
#define HK_TESTS_ACE_BLOCKS_H

#include <sys/resource.h>

#include "../../src/ace.h"
#include "../../src/ace_huge.h"
#include "../../src/config.h"
#include "../../src/heap.h"
#include "../../src/os.h"
#include "../../src/reclaim.h"
#include "../../src/region.h"
#include "../../src/superslab.h"
#include "in_child.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define AN_ERRNO 4711

/* The library's malloc, under the name that unit tests know it by. */
void *hk_test_malloc(size_t size);
void *hk_test_calloc(size_t count, size_t size);
void *hk_test_realloc(void *ptr, size_t size);
void hk_test_free(void *ptr);

static inline size_t vm_pages(unsigned field)
{
    unsigned long fields[2] = {0, 0};
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%lu %lu", &fields[0], &fields[1]) != 2)
        abort();
    fclose(f);
    return fields[field] * os_page_size;
}

static inline size_t address_space(void)
{
    return vm_pages(0);
}

static inline size_t resident(void)
{
    return vm_pages(1);
}

/* Every page of a block gets words that no other block has; what lies before `from` has them already. */
static inline void fill_rest(void *ptr, size_t from, size_t size, uint64_t seed)
{
    for (size_t at = hk_align_up(from, 512); at + 8 <= size; at += 512)
        *(uint64_t *)(void *)((char *)ptr + at) = seed ^ at;
}

static inline void fill(void *ptr, size_t size, uint64_t seed)
{
    fill_rest(ptr, 0, size, seed);
}

static inline bool is_filled(const void *ptr, size_t size, uint64_t seed)
{
    for (size_t at = 0; at + 8 <= size; at += 512)
        if (*(const uint64_t *)(const void *)((const char *)ptr + at) != (seed ^ at))
            return false;
    return true;
}

static inline bool is_zero(const void *ptr, size_t size)
{
    const char *bytes = ptr;
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

static inline bool free_block(void *ptr)
{
    struct heap_place place = heap_find(ptr);
    return place.slab != NULL ? ace_free_large(place.slab, ptr) : place.huge != NULL && ace_free_huge(place.huge, ptr);
}

static inline size_t block_bytes(const void *ptr)
{
    struct heap_place place = heap_find(ptr);
    return place.slab != NULL   ? ace_usable_large(place.slab, ptr)
           : place.huge != NULL ? ace_usable_huge(place.huge, ptr)
                                : 0;
}

static inline void *resize(void *ptr, size_t size, bool in_place)
{
    struct heap_place place = heap_find(ptr);
    return place.slab != NULL ? ace_resize_large(place.slab, ptr, size, HK_ALIGNMENT, in_place)
                              : ace_resize_huge(place.huge, ptr, size, HK_ALIGNMENT, in_place);
}

/* The account's identities, for every class of ACE that nobody uses at the moment. */
static inline int check_account(void)
{
    uint64_t huge_live = 0;
    for (unsigned c = HK_CACHED_CLASSES; c < HK_ACCOUNT_CLASSES; c++) {
        const struct hk_class_account *a = &hk_account.classes[c];
        uint64_t live = a->inherited + a->allocs - a->frees,
                 live_bytes = a->inherited_bytes + a->alloc_bytes - a->free_bytes;
        uint64_t served = 0, buckets = 0;
        for (unsigned i = 0; i < HK_SERVERS; i++)
            served += a->refills[i];
        for (unsigned i = 0; i < HK_HITS_BUCKETS; i++)
            buckets += a->hits_per_miss[i];
        CLAIM(served == a->misses);
        CLAIM(buckets == a->misses);
        CLAIM(a->misses <= a->allocs);
        if (c == HK_CLASS_HUGE) {
            huge_live = live;
            CLAIM(live_bytes == hk_account.capacity.huge_bytes);
            CLAIM(a->cached_blocks == hk_account.capacity.huge_cached);
        } else {
            CLAIM(live_bytes == live * a->block_size);
            CLAIM(a->slab_blocks == a->slabs);
            CLAIM(a->slabs == live + a->cached_blocks);
        }
        CLAIM(a->cached_blocks <= a->cap_blocks);
    }
    CLAIM(huge_live == hk_account.capacity.huge_blocks);
    CLAIM(ace_large_cached_bytes() <= ace_large_posted);
    return 0;
}

#define CHECK_ACCOUNT()             \
    do {                            \
        int line = check_account(); \
        if (line != 0)              \
            return line;            \
    } while (0)

static inline void limit_address_space(size_t more)
{
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = address_space() + more;
    setrlimit(RLIMIT_AS, &limit);
}

static inline uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static inline size_t random_size(uint32_t *state)
{
    size_t base = 33 * KIB << next_random(state) % 8; /* to 4 MiB and above */
    return base + next_random(state) % base;
}

#define IN_A_CHILD(name, body)                      \
    static void name(void **state)                  \
    {                                               \
        (void)state;                                \
        assert_int_equal(claims_of(body, NULL), 0); \
    }

#endif
