/* test_ace.c - ACE through the whole library: what it serves, how it fails, what it keeps and what it gives back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

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
#define MANY 200u

/* The library's malloc, under the name that unit tests know it by. */
void *hk_test_malloc(size_t size);
void *hk_test_calloc(size_t count, size_t size);
void *hk_test_realloc(void *ptr, size_t size);
void hk_test_free(void *ptr);

static size_t vm_pages(unsigned field)
{
    unsigned long fields[2] = {0, 0};
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%lu %lu", &fields[0], &fields[1]) != 2)
        abort();
    fclose(f);
    return fields[field] * os_page_size;
}

static size_t address_space(void)
{
    return vm_pages(0);
}

static size_t resident(void)
{
    return vm_pages(1);
}

/* Every page of a block gets words that no other block has; what lies before `from` has them already. */
static void fill_rest(void *ptr, size_t from, size_t size, uint64_t seed)
{
    for (size_t at = hk_align_up(from, 512); at + 8 <= size; at += 512)
        *(uint64_t *)(void *)((char *)ptr + at) = seed ^ at;
}

static void fill(void *ptr, size_t size, uint64_t seed)
{
    fill_rest(ptr, 0, size, seed);
}

static bool is_filled(const void *ptr, size_t size, uint64_t seed)
{
    for (size_t at = 0; at + 8 <= size; at += 512)
        if (*(const uint64_t *)(const void *)((const char *)ptr + at) != (seed ^ at))
            return false;
    return true;
}

static bool is_zero(const void *ptr, size_t size)
{
    const char *bytes = ptr;
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

static bool free_block(void *ptr)
{
    struct heap_place place = heap_find(ptr);
    return place.slab != NULL ? ace_free_large(place.slab, ptr) : place.huge != NULL && ace_free_huge(place.huge, ptr);
}

static size_t block_bytes(const void *ptr)
{
    struct heap_place place = heap_find(ptr);
    return place.slab != NULL ? ace_usable_large(place.slab, ptr)
           : place.huge != NULL ? ace_usable_huge(place.huge, ptr) : 0;
}

static void *resize(void *ptr, size_t size, bool in_place)
{
    struct heap_place place = heap_find(ptr);
    return place.slab != NULL ? ace_resize_large(place.slab, ptr, size, in_place)
                              : ace_resize_huge(place.huge, ptr, size, HK_ALIGNMENT, in_place);
}

/* The account's identities, for every class of ACE that nobody uses at the moment. */
static int check_account(void)
{
    uint64_t huge_live = 0;
    for (unsigned c = HK_CACHED_CLASSES; c < HK_ACCOUNT_CLASSES; c++) {
        const struct hk_class_account *a = &hk_account[c];
        uint64_t live = a->inherited + a->allocs - a->frees, live_bytes = a->inherited_bytes + a->alloc_bytes - a->free_bytes;
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
            CLAIM(live_bytes == hk_capacity.huge_bytes);
            CLAIM(a->cached_blocks == hk_capacity.huge_cached);
        } else {
            CLAIM(live_bytes == live * a->block_size);
            CLAIM(a->slab_blocks == a->slabs);
            CLAIM(a->slabs == live + a->cached_blocks);
        }
        CLAIM(a->cached_blocks <= a->cap_blocks);
    }
    CLAIM(huge_live == hk_capacity.huge_blocks);
    CLAIM(ace_large_cached_bytes() <= ace_large_posted);
    return 0;
}

#define CHECK_ACCOUNT()             \
    do {                            \
        int line = check_account(); \
        if (line != 0)              \
            return line;            \
    } while (0)

/* ---- what is served ---- */

static int every_size_gets_its_class(void *arg)
{
    (void)arg;
    static void *blocks[4 * (HK_SIZED_CLASSES - HK_CACHED_CLASSES)];
    unsigned n = 0;
    errno = AN_ERRNO;
    for (unsigned c = HK_CACHED_CLASSES; c < HK_SIZED_CLASSES; c++)
        for (size_t less = 0; less < 4; less++) {
            size_t size = hk_class_size[c] - less * 1000;
            blocks[n] = ace_alloc(size, HK_ALIGNMENT, less % 2);
            CLAIM(blocks[n] != NULL);
            CLAIM((uintptr_t)blocks[n] % HK_UNIT_SIZE == 0);
            CLAIM(block_bytes(blocks[n]) == hk_class_size[c]);
            CLAIM(less % 2 == 0 || is_zero(blocks[n], hk_class_size[c]));
            fill(blocks[n], hk_class_size[c], (uintptr_t)blocks[n]);
            n++;
        }
    for (unsigned i = 0; i < n; i++)
        CLAIM(is_filled(blocks[i], block_bytes(blocks[i]), (uintptr_t)blocks[i]));
    CHECK_ACCOUNT();
    for (unsigned i = 0; i < n; i++)
        CLAIM(free_block(blocks[i]));
    CHECK_ACCOUNT();
    CLAIM(errno == AN_ERRNO);
    return 0;
}

static int any_alignment(void *arg)
{
    (void)arg;
    static const size_t sizes[] = {1, 40 * KIB, 100 * KIB, 2 * MIB, 2 * MIB + 1, 5 * MIB};
    for (size_t align = HK_ALIGNMENT; align <= 64 * MIB; align *= 2)
        for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            void *first = ace_alloc(sizes[i], align, false), *second = ace_alloc(sizes[i], align, true);
            CLAIM(first != NULL && second != NULL && first != second);
            CLAIM((uintptr_t)first % align == 0 && (uintptr_t)second % align == 0);
            CLAIM(block_bytes(first) >= sizes[i] && block_bytes(second) >= sizes[i]);
            CLAIM(is_zero(second, block_bytes(second)));
            fill(first, block_bytes(first), 1);
            fill(second, block_bytes(second), 2);
            CLAIM(is_filled(first, block_bytes(first), 1));
            CLAIM(free_block(first) && free_block(second));
        }
    CHECK_ACCOUNT();
    return 0;
}

static int zeros_after_dirt(void *arg)
{
    (void)arg;
    static const size_t sizes[] = {40 * KIB, 72 * KIB, MIB, 2 * MIB, 3 * MIB, 7 * MIB, 12 * MIB};
    hk_config.retain = 64 * MIB;
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (unsigned round = 0; round < 3; round++) {
            char *block = ace_alloc(sizes[i], HK_ALIGNMENT, true);
            CLAIM(block != NULL && is_zero(block, block_bytes(block)));
            memset(block, 0xa5, block_bytes(block));
            CLAIM(free_block(block));
        }
    CLAIM(hk_account[HK_CLASS_HUGE].misses < hk_account[HK_CLASS_HUGE].allocs); /* dirt was met */
    return 0;
}

/* ---- the counts ---- */

static int hits_and_misses(void *arg)
{
    (void)arg;
    const size_t size = 100 * KIB;
    const struct hk_class_account *a = &hk_account[hk_class_of_size(size)];
    void *blocks[3];
    for (unsigned i = 0; i < 3; i++)
        blocks[i] = ace_alloc(size, HK_ALIGNMENT, false);
    CLAIM(a->allocs == 3 && a->misses == 3 && a->slabs == 3 && a->hits_per_miss[0] == 3);
    for (unsigned i = 0; i < 3; i++)
        CLAIM(free_block(blocks[i]));
    CLAIM(a->frees == 3 && a->cached_blocks == 3 && a->slabs == 3);
    for (unsigned i = 0; i < 3; i++)
        CLAIM(ace_alloc(size, HK_ALIGNMENT, false) == blocks[2 - i]); /* the hottest first */
    CLAIM(a->allocs == 6 && a->misses == 3 && a->cached_blocks == 0);
    CLAIM(ace_alloc(size, HK_ALIGNMENT, false) != NULL);
    CLAIM(a->allocs == 7 && a->misses == 4 && a->hits_per_miss[account_hits_bucket(3)] == 1);
    CHECK_ACCOUNT();
    return 0;
}

static int the_cap_moves(void *arg)
{
    (void)arg;
    const size_t size = 40 * KIB;
    const struct hk_class_account *a = &hk_account[hk_class_of_size(size)];
    static void *blocks[MANY];
    hk_config.retain = GIB;
    CLAIM(a->cap_blocks == ACE_CAP_START);
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < MANY; i++)
            CLAIM((blocks[i] = ace_alloc(size, HK_ALIGNMENT, false)) != NULL);
        CHECK_ACCOUNT();
        for (unsigned i = 0; i < MANY; i++)
            CLAIM(free_block(blocks[i]));
        CHECK_ACCOUNT();
    }
    CLAIM(a->cap_blocks >= MANY * 9 / 10 && a->cap_blocks <= ace_cap_most(size));
    uint64_t allocs = a->allocs, misses = a->misses;
    for (unsigned i = 0; i < MANY; i++)
        blocks[i] = ace_alloc(size, HK_ALIGNMENT, false);
    CLAIM(100 * (a->misses - misses) <= (100 - hk_config.ace_hit_rate) * (a->allocs - allocs));
    for (unsigned i = 0; i < MANY; i++)
        CLAIM(free_block(blocks[i]));
    for (unsigned i = 0; i < 20 * ACE_EPOCH * ACE_WINDOW; i++)
        CLAIM(free_block(ace_alloc(size, HK_ALIGNMENT, false)));
    CLAIM(a->cap_blocks <= ACE_CAP_START && a->cached_blocks <= a->cap_blocks);
    return 0;
}

/* ---- the failures ---- */

static int threshold(void *arg)
{
    (void)arg;
    hk_config.ace_trace = true;
    hk_config.ace_limit = 4 * MIB;
    errno = AN_ERRNO;
    void *large = ace_alloc(5 * MIB, HK_ALIGNMENT, false), *aligned = ace_alloc(100 * KIB, 4 * MIB, false);
    CLAIM(large != NULL && aligned != NULL && (uintptr_t)aligned % (4 * MIB) == 0);
    CLAIM(errno == AN_ERRNO);
    CLAIM(hk_account[HK_CLASS_HUGE].ace_fails[ACE_THRESHOLD] == 1);
    CLAIM(hk_account[hk_class_of_size(100 * KIB)].ace_fails[ACE_THRESHOLD] == 1);
    CLAIM(block_bytes(aligned) == hk_class_size[hk_class_of_size(100 * KIB)]);
    size_t mapped = os_account.mapped;
    CLAIM(free_block(large));
    CLAIM(os_account.mapped == mapped - 5 * MIB); /* not cached */
    CLAIM(hk_capacity.huge_cached == 0);
    CHECK_ACCOUNT();
    return 0;
}

static int exhaustion(void *arg)
{
    (void)arg;
    hk_config.ace_trace = true;
    hk_config.superslabs = 0;
    errno = AN_ERRNO;
    const unsigned class_idx = hk_class_of_size(100 * KIB);
    void *block = ace_alloc(100 * KIB, HK_ALIGNMENT, true);
    CLAIM(block != NULL && is_zero(block, 100 * KIB));
    CLAIM(errno == AN_ERRNO);
    CLAIM(heap_find(block).huge != NULL);
    CLAIM(block_bytes(block) == hk_class_size[class_idx]);
    CLAIM(hk_account[class_idx].ace_fails[ACE_EXHAUSTION] == 1);
    CLAIM(hk_account[class_idx].allocs == 0 && hk_account[HK_CLASS_HUGE].allocs == 1);
    CLAIM(free_block(block));
    CLAIM(!free_block(block));
    CHECK_ACCOUNT();
    return 0;
}

static void limit_address_space(size_t more)
{
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = address_space() + more;
    setrlimit(RLIMIT_AS, &limit);
}

static int map_fail(void *arg)
{
    (void)arg;
    hk_config.ace_trace = true;
    superslab_shrink_region(); /* else the second try finds its addresses */
    limit_address_space(16 * MIB);
    errno = 0;
    CLAIM(ace_alloc(200 * MIB, HK_ALIGNMENT, false) == NULL);
    CLAIM(errno == ENOMEM);
    CLAIM(hk_account[HK_CLASS_HUGE].ace_fails[ACE_MAPFAIL] == 1);
    CLAIM(hk_account[HK_CLASS_HUGE].allocs == 0 && hk_account[HK_CLASS_HUGE].misses == 0);
    errno = AN_ERRNO;
    CLAIM(ace_alloc(3 * MIB, HK_ALIGNMENT, false) != NULL);
    CLAIM(errno == AN_ERRNO);
    CLAIM(ace_alloc(SIZE_MAX / 2, HK_ALIGNMENT, false) == NULL);
    CLAIM(ace_alloc(3 * MIB, (size_t)1 << 62, false) == NULL);
    CLAIM(ace_alloc(SIZE_MAX / 2, (size_t)1 << 62, false) == NULL);
    CHECK_ACCOUNT();
    return 0;
}

static int the_region_makes_room(void *arg)
{
    (void)arg;
    if (region_units == 0 || address_space() < 4 * GIB)
        return 0;
    limit_address_space(16 * MIB);
    void *block = ace_alloc(200 * MIB, HK_ALIGNMENT, false);
    CLAIM(block != NULL);
    CLAIM(hk_account[HK_CLASS_HUGE].ace_fails[ACE_MAPFAIL] == 0);
    CLAIM(free_block(block));
    return 0;
}

static void assert_told(int (*body)(void *), const char *const *lines)
{
    static struct child_end end;
    in_child(body, NULL, &end);
    if (end.line != 0 || end.status != 0)
        fail_msg("line %d, status 0x%x: %s", end.line, (unsigned)end.status, end.text);
    for (; *lines != NULL; lines++)
        if (strstr(end.text, *lines) == NULL)
            fail_msg("not told: %s in: %s", *lines, end.text);
}

static void a_request_beyond_the_limit_is_a_threshold_failure_and_mapped_directly(void **state)
{
    (void)state;
    assert_told(threshold, (const char *const[]){"hakmem: ACE Threshold: 5242880 bytes (class huge)\n",
                                                 "hakmem: ACE Threshold: 102400 bytes (class 104 KiB)\n", NULL});
}

static void a_class_without_superslabs_is_an_exhaustion_failure_and_served_all_the_same(void **state)
{
    (void)state;
    assert_told(exhaustion, (const char *const[]){"hakmem: ACE Exhaustion: 102400 bytes (class 104 KiB)\n", NULL});
}

static void memory_that_the_kernel_refuses_is_a_mapfail_with_its_limit(void **state)
{
    (void)state;
    assert_told(map_fail, (const char *const[]){
        "hakmem: ACE MapFail: 209715200 bytes (class huge), errno 12 ENOMEM, limit RLIMIT_AS\n",
        "hakmem: ACE MapFail: 9223372036854775807 bytes (class huge), errno 12 ENOMEM, limit ", NULL});
}

static int tell_shared_fails(void *arg)
{
    (void)arg;
    ace_trace_shared_fail(hk_class_of_size(48), SHARED_FAIL_REGION, 0);
    hk_config.ace_trace = true;
    errno = AN_ERRNO;
    ace_trace_shared_fail(hk_class_of_size(48), SHARED_FAIL_REGION, 0);
    ace_trace_shared_fail(hk_class_of_size(1024), SHARED_FAIL_CAP, 0);
    ace_trace_shared_fail(hk_class_of_size(1100), SHARED_FAIL_KERNEL, ENOMEM);
    CLAIM(errno == AN_ERRNO);
    return 0;
}

static void a_shared_fail_is_told_in_one_line(void **state)
{
    (void)state;
    static struct child_end end;
    in_child(tell_shared_fails, NULL, &end);
    assert_int_equal(end.line, 0);
    assert_string_equal(end.text, "hakmem: shared_fail -> legacy: class 48 B, reason region\n"
                                  "hakmem: shared_fail -> legacy: class 1 KiB, reason cap\n"
                                  "hakmem: shared_fail -> legacy: class 1152 B, reason kernel, errno 12 ENOMEM\n");
}

/* ---- misuse ---- */

static int misuse(void *arg)
{
    (void)arg;
    static const size_t sizes[] = {40 * KIB, 100 * KIB, 2 * MIB, 3 * MIB, 300 * MIB};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *block = ace_alloc(sizes[i], HK_ALIGNMENT, false);
        CLAIM(block != NULL);
        struct heap_place place = heap_find(block);
        for (size_t at = 16; at < sizes[i]; at = at * 2 + 16) {
            struct heap_place inside = heap_find(block + at);
            CLAIM(place.slab == NULL || (inside.slab == place.slab && !ace_free_large(place.slab, block + at)));
            CLAIM(place.slab == NULL || ace_usable_large(place.slab, block + at) == 0);
            CLAIM(place.slab == NULL || ace_resize_large(place.slab, block + at, sizes[i], false) == NULL);
            CLAIM(place.huge == NULL || !ace_free_huge(place.huge, block + at));
            CLAIM(place.huge == NULL || ace_usable_huge(place.huge, block + at) == 0);
            CLAIM(place.huge == NULL || ace_resize_huge(place.huge, block + at, sizes[i], 16, false) == NULL);
        }
        CLAIM(free_block(block));
        CLAIM(!free_block(block));
        CLAIM(block_bytes(block) == 0);
        CHECK_ACCOUNT();
    }
    return 0;
}

/* ---- resize ---- */

static int large_resize(void *arg)
{
    (void)arg;
    char *block = ace_alloc(70 * KIB, HK_ALIGNMENT, false); /* 72 KiB in two units */
    fill(block, 72 * KIB, 7);
    CLAIM(resize(block, 128 * KIB, true) == block && block_bytes(block) == 128 * KIB);
    CLAIM(is_filled(block, 72 * KIB, 7));
    CHECK_ACCOUNT();
    CLAIM(resize(block, 128 * KIB + 1, true) == NULL && resize(block, 128 * KIB + 1, false) == NULL);
    CLAIM(resize(block, 64 * KIB, false) == block && block_bytes(block) == 128 * KIB);
    CLAIM(resize(block, 64 * KIB - 1, false) == NULL);
    CLAIM(resize(block, 1, true) == block);
    CLAIM(free_block(block));
    CHECK_ACCOUNT();
    CLAIM(ace_alloc(128 * KIB, HK_ALIGNMENT, false) == block); /* it waits where its size belongs */
    return 0;
}

static int small_steps(void *arg)
{
    (void)arg;
    size_t size = 3 * MIB, step = 20 * KIB + 123;
    char *block = ace_alloc(size, HK_ALIGNMENT, false);
    void *neighbour = NULL;
    fill(block, size, 9);
    uint64_t calls = os_account.map_calls;
    for (unsigned i = 0; i < 2000; i++) {
        size_t more = size + step;
        char *now = resize(block, more, false);
        CLAIM(now != NULL && block_bytes(now) >= more && block_bytes(now) - more < os_page_size);
        CLAIM(heap_find(now).huge != NULL);
        CLAIM(now == block || heap_find(block).huge == NULL);
        CLAIM(i % 100 != 0 || is_filled(now, hk_align_down(size, 512), 9));
        fill_rest(now, hk_align_down(size, 512), more, 9);
        block = now;
        size = more;
        if (i % 100 == 0) { /* in the way of growth */
            void *next = ace_alloc(3 * MIB, HK_ALIGNMENT, false);
            if (neighbour != NULL)
                CLAIM(free_block(neighbour));
            neighbour = next;
        }
    }
    CLAIM(os_account.map_calls - calls < 150);
    CLAIM(hk_capacity.huge_bytes >= size + 3 * MIB);
    CHECK_ACCOUNT();
    CLAIM(free_block(block) && free_block(neighbour));
    return 0;
}

static int huge_resize(void *arg)
{
    (void)arg;
    char *block = ace_alloc(40 * MIB, HK_ALIGNMENT, false);
    fill(block, 40 * MIB, 5);
    CLAIM(resize(block, 30 * MIB + 1, false) == block && block_bytes(block) == 30 * MIB + os_page_size);
    CHECK_ACCOUNT();
    size_t mapped = os_account.mapped;
    CLAIM(resize(block, 10 * MIB, true) == block && os_account.mapped == mapped - 20 * MIB - HK_UNIT_SIZE);
    CLAIM(is_filled(block, 10 * MIB, 5));
    CLAIM(resize(block, MIB, false) == NULL && block_bytes(block) == 10 * MIB); /* a copy pays */
    char *now = resize(block, 100 * MIB, false);
    CLAIM(now != NULL && is_filled(now, 10 * MIB, 5) && is_zero(now + 10 * MIB, 90 * MIB));
    CLAIM(resize(now, 101 * MIB, true) == now);
    CLAIM(resize(now, SIZE_MAX / 2, false) == NULL && is_filled(now, 10 * MIB, 5) && heap_find(now).huge != NULL);
    CHECK_ACCOUNT();
    CLAIM(free_block(now));
    CLAIM(hk_capacity.huge_blocks == 0 && hk_capacity.huge_bytes == 0);
    return 0;
}

static int growth_under_a_limit(void *arg)
{
    (void)arg;
    superslab_shrink_region();
    char *block = ace_alloc(8 * MIB, HK_ALIGNMENT, false);
    fill(block, 8 * MIB, 3);
    limit_address_space(40 * MIB);
    size_t size = 8 * MIB;
    errno = AN_ERRNO;
    for (char *now; (now = resize(block, size + MIB, false)) != NULL; size += MIB)
        block = now;
    CLAIM(errno == AN_ERRNO);
    CLAIM(size >= 20 * MIB && block_bytes(block) == size && is_filled(block, 8 * MIB, 3));
    CLAIM(heap_find(block).huge != NULL);
    CHECK_ACCOUNT();
    CLAIM(free_block(block));
    return 0;
}

/* realloc through every engine, in both directions. */
static int realloc_keeps_content(void *arg)
{
    (void)arg;
    static const size_t sizes[] = {100, 33 * KIB, 60 * KIB, 64 * KIB + 1, 120 * KIB, MIB, 2 * MIB, 3 * MIB, 20 * MIB};
    const unsigned n = sizeof sizes / sizeof sizes[0];
    for (unsigned from = 0; from < n; from++)
        for (unsigned to = 0; to < n; to++) {
            size_t least = sizes[from] < sizes[to] ? sizes[from] : sizes[to];
            char *block = hk_test_malloc(sizes[from]);
            fill(block, sizes[from], from);
            char *now = hk_test_realloc(block, sizes[to]);
            CLAIM(now != NULL && is_filled(now, least, from));
            fill(now, sizes[to], to);
            now = hk_test_realloc(now, sizes[from]);
            CLAIM(now != NULL && is_filled(now, least, to));
            hk_test_free(now);
        }
    CHECK_ACCOUNT();
    return 0;
}

/* ---- what is kept ---- */

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static size_t random_size(uint32_t *state)
{
    size_t base = 33 * KIB << next_random(state) % 8; /* to 4 MiB and above */
    return base + next_random(state) % base;
}

static int the_bound_is_kept(void *arg)
{
    (void)arg;
    static void *slots[24];
    uint32_t random = 1;
    size_t most = 0;
    for (unsigned i = 0; i < 3000; i++) {
        unsigned slot = next_random(&random) % 24;
        if (slots[slot] != NULL) {
            CLAIM(free_block(slots[slot]));
            slots[slot] = NULL;
            CLAIM(reclaim_free_bytes() <= reclaim_bound());
        } else {
            size_t size = random_size(&random);
            slots[slot] = ace_alloc(size, HK_ALIGNMENT, false);
            fill(slots[slot], size, i);
        }
        if (i % 500 == 499) {
            size_t live = 0, rss = resident();
            for (unsigned k = 0; k < 24; k++)
                live += slots[k] != NULL ? block_bytes(slots[k]) : 0;
            size_t allowed = live + live / 8 + live / 8 + hk_config.retain; /* what is live, its tails, what is kept */
            if (rss > allowed && rss - allowed > most)
                most = rss - allowed;
        }
    }
    CHECK_ACCOUNT();
    for (unsigned k = 0; k < 24; k++)
        if (slots[k] != NULL)
            CLAIM(free_block(slots[k]));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    CLAIM(most < 8 * MIB); /* the process itself */
#endif
    return 0;
}

static int all_decays(void *arg)
{
    (void)arg;
    static void *blocks[40];
    for (unsigned i = 0; i < 40; i++) {
        blocks[i] = ace_alloc((i + 1) * 64 * KIB, HK_ALIGNMENT, false);
        fill(blocks[i], (i + 1) * 64 * KIB, i);
    }
    for (unsigned i = 0; i < 40; i++)
        CLAIM(free_block(blocks[i]));
    uint64_t now = os_now_ms();
    CLAIM(ace_cached_bytes() > 0);
    CLAIM(ace_decay(now, 100000) == 0);
    CLAIM(ace_cached_bytes() > 0);
    for (unsigned i = 1; i <= 3; i++) /* runs age again as units */
        reclaim_decay(now + i * (hk_config.decay_ms + 100));
    CLAIM(ace_cached_bytes() == 0 && superslab_dirty_bytes() == 0 && reclaim_free_bytes() == 0);
    CHECK_ACCOUNT();
    return 0;
}

static int trim_keeps_what_it_is_told_to(void *arg)
{
    (void)arg;
    static void *blocks[30];
    hk_config.retain = GIB;
    for (unsigned i = 0; i < 30; i++)
        blocks[i] = ace_alloc((i % 4 + 1) * 900 * KIB, HK_ALIGNMENT, false);
    for (unsigned i = 0; i < 30; i++)
        CLAIM(free_block(blocks[i]));
    for (size_t keep = ace_cached_bytes(); keep > 0; keep = keep * 2 / 3) {
        ace_large_trim(keep);
        ace_huge_trim(keep);
        CLAIM(ace_large_cached_bytes() <= keep && ace_huge_cached_bytes() <= keep);
        CHECK_ACCOUNT();
    }
    ace_large_trim(0);
    ace_huge_trim(0);
    CLAIM(ace_cached_bytes() == 0 && ace_large_posted == 0);
    return 0;
}

/* ---- threads and forks ---- */

#define THREADS 8u
#define SHARED 64u

struct shared_slot {
    void *block; /* any: who exchanges it out owns it */
};
static struct shared_slot shared[SHARED];

struct churn {
    unsigned rounds;
    uint32_t seed;
    int line;
};

static int churn_body(const struct churn *churn)
{
    uint32_t random = churn->seed;
    for (unsigned i = 0; i < churn->rounds; i++) {
        size_t size = random_size(&random);
        uint64_t *block = hk_test_malloc(size);
        CLAIM(block != NULL);
        block[0] = size;
        fill((char *)block + 512, size - 512, size);
        if (next_random(&random) % 8 == 0) {
            size_t more = size + size / 4;
            block = hk_test_realloc(block, more);
            CLAIM(block != NULL && block[0] == size);
        }
        uint64_t *other = atomic_exchange_acq_rel(&shared[next_random(&random) % SHARED].block, block);
        if (other != NULL) {
            CLAIM(is_filled((char *)other + 512, other[0] - 512, other[0]));
            hk_test_free(other);
        }
        if (i % 64 == 0)
            reclaim_decay(os_now_ms());
    }
    return 0;
}

static void *churn_thread(void *arg)
{
    struct churn *churn = arg;
    churn->line = churn_body(churn);
    return NULL;
}

static int churn_threads(void *arg)
{
    pthread_t threads[THREADS];
    struct churn churns[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        churns[i] = (struct churn){*(unsigned *)arg, 1 + i, 0};
        CLAIM(pthread_create(&threads[i], NULL, churn_thread, &churns[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        CLAIM(pthread_join(threads[i], NULL) == 0);
    for (unsigned i = 0; i < THREADS; i++)
        CLAIM(churns[i].line == 0);
    for (unsigned i = 0; i < SHARED; i++)
        hk_test_free(atomic_exchange_acq_rel(&shared[i].block, NULL));
    CHECK_ACCOUNT();
    CLAIM(hk_capacity.huge_blocks == 0);
    CLAIM(reclaim_free_bytes() <= reclaim_bound());
    return 0;
}

static int raw_child_body(void *const *live)
{
    ace_after_fork(true);
    for (unsigned i = 0; i < 2; i++)
        CLAIM(is_filled(live[i], block_bytes(live[i]), 4) && free_block(live[i]));
    for (unsigned i = 0; i < MANY; i++) {
        void *large = ace_alloc(100 * KIB, HK_ALIGNMENT, true), *huge = ace_alloc(3 * MIB, HK_ALIGNMENT, true);
        CLAIM(large != NULL && huge != NULL && is_zero(large, 100 * KIB) && is_zero(huge, 3 * MIB));
        fill(large, 100 * KIB, 6);
        fill(huge, 3 * MIB, 6);
        CLAIM(free_block(large) && free_block(huge));
    }
    return 0;
}

/* The child of a raw clone finds every lock held. */
static int raw_clone(void *arg)
{
    (void)arg;
    void *live[2] = {ace_alloc(100 * KIB, HK_ALIGNMENT, false), ace_alloc(3 * MIB, HK_ALIGNMENT, false)};
    for (unsigned i = 0; i < 2; i++) {
        fill(live[i], block_bytes(live[i]), 4);
        CLAIM(free_block(ace_alloc(i == 0 ? 100 * KIB : 3 * MIB, HK_ALIGNMENT, false))); /* one waits */
    }
    ace_before_fork();
    long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
    if (pid == 0)
        _exit(raw_child_body(live) == 0 ? 0 : 1);
    ace_after_fork(false);
    int status;
    CLAIM(pid > 0 && waitpid((pid_t)pid, &status, 0) == pid && status == 0);
    CLAIM(free_block(live[0]) && free_block(live[1]));
    CHECK_ACCOUNT();
    return 0;
}

/* ---- what the kernel refuses ---- */

#ifdef HK_FAULT_INJECTION
static int refusals_body(unsigned at, unsigned in_a_row)
{
    static const size_t sizes[] = {100 * KIB, 3 * MIB, 2 * MIB, 4 * MIB};
    void *blocks[8] = {NULL};
    reclaim_everything();
    atomic_store_relaxed(&os_fail_for, in_a_row);
    atomic_store_relaxed(&os_fail_at, at);
    for (unsigned i = 0; i < 8; i++) {
        size_t size = sizes[i % 4];
        blocks[i] = ace_alloc(size, HK_ALIGNMENT, i % 2);
        CLAIM(blocks[i] != NULL || in_a_row > 1);
        if (blocks[i] == NULL)
            continue;
        CLAIM(i % 2 == 0 || is_zero(blocks[i], size));
        fill(blocks[i], size, i);
        char *now = resize(blocks[i], size * 3, false);
        if (now != NULL) {
            blocks[i] = now;
            now = resize(now, size, true);
            CLAIM(now == blocks[i]);
        }
        CLAIM(is_filled(blocks[i], size, i) && block_bytes(blocks[i]) >= size);
    }
    for (unsigned i = 0; i < 8; i++)
        CLAIM(blocks[i] == NULL || (is_filled(blocks[i], sizes[i % 4], i) && free_block(blocks[i])));
    reclaim_decay(os_now_ms() + 10000);
    CHECK_ACCOUNT();
    return 0;
}

static int refusals(void *arg)
{
    (void)arg;
    for (unsigned in_a_row = 1; in_a_row <= 8; in_a_row *= 2)
        for (unsigned at = 1; at <= 60; at++) {
            int line = refusals_body(at, in_a_row);
            atomic_store_relaxed(&os_fail_at, 0);
            atomic_store_relaxed(&os_fail_for, 1);
            if (line != 0) {
                fprintf(stderr, "refused: call %u, %u in a row\n", at, in_a_row);
                return line;
            }
        }
    reclaim_everything();
    CLAIM(reclaim_free_bytes() == 0);
    CLAIM(hk_capacity.huge_bytes == 0);
    return 0;
}
#endif

/* ---- the list ---- */

#define IN_A_CHILD(name, body)                       \
    static void name(void **state)                   \
    {                                                \
        (void)state;                                 \
        assert_int_equal(claims_of(body, NULL), 0);  \
    }

IN_A_CHILD(every_large_size_gets_a_block_of_its_class_apart_from_the_others, every_size_gets_its_class)
IN_A_CHILD(every_alignment_is_kept, any_alignment)
IN_A_CHILD(a_zeroed_block_is_zero_where_a_dirty_one_was, zeros_after_dirt)
IN_A_CHILD(hits_misses_and_blocks_are_counted_exactly, hits_and_misses)
IN_A_CHILD(the_cap_follows_demand_up_and_down, the_cap_moves)
IN_A_CHILD(an_unused_region_makes_room_for_a_refused_mapping, the_region_makes_room)
IN_A_CHILD(second_frees_and_interior_pointers_are_refused, misuse)
IN_A_CHILD(a_large_block_grows_within_its_units, large_resize)
IN_A_CHILD(growth_by_small_steps_asks_the_kernel_seldom, small_steps)
IN_A_CHILD(a_huge_block_grows_and_shrinks_without_a_copy, huge_resize)
IN_A_CHILD(growth_goes_on_to_the_limit_and_then_changes_nothing, growth_under_a_limit)
IN_A_CHILD(realloc_keeps_the_content_from_any_size_to_any, realloc_keeps_content)
IN_A_CHILD(free_memory_never_exceeds_the_bound, the_bound_is_kept)
IN_A_CHILD(what_waits_decays_to_nothing, all_decays)
IN_A_CHILD(trim_leaves_what_is_to_be_kept, trim_keeps_what_it_is_told_to)
IN_A_CHILD(the_child_of_a_raw_clone_abandons_what_was_locked, raw_clone)
#ifdef HK_FAULT_INJECTION
IN_A_CHILD(any_refusal_of_the_kernel_leaves_all_in_order, refusals)
#endif

static void threads_may_free_what_others_allocated(void **state)
{
    (void)state;
    const char *full = getenv("HAKMEM_TESTS_FULL");
    unsigned rounds = full != NULL && strcmp(full, "1") == 0 ? 50000 : 300;
    assert_int_equal(claims_of(churn_threads, &rounds), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_large_size_gets_a_block_of_its_class_apart_from_the_others),
        cmocka_unit_test(every_alignment_is_kept),
        cmocka_unit_test(a_zeroed_block_is_zero_where_a_dirty_one_was),
        cmocka_unit_test(hits_misses_and_blocks_are_counted_exactly),
        cmocka_unit_test(the_cap_follows_demand_up_and_down),
        cmocka_unit_test(a_request_beyond_the_limit_is_a_threshold_failure_and_mapped_directly),
        cmocka_unit_test(a_class_without_superslabs_is_an_exhaustion_failure_and_served_all_the_same),
        cmocka_unit_test(memory_that_the_kernel_refuses_is_a_mapfail_with_its_limit),
        cmocka_unit_test(an_unused_region_makes_room_for_a_refused_mapping),
        cmocka_unit_test(a_shared_fail_is_told_in_one_line),
        cmocka_unit_test(second_frees_and_interior_pointers_are_refused),
        cmocka_unit_test(a_large_block_grows_within_its_units),
        cmocka_unit_test(growth_by_small_steps_asks_the_kernel_seldom),
        cmocka_unit_test(a_huge_block_grows_and_shrinks_without_a_copy),
        cmocka_unit_test(growth_goes_on_to_the_limit_and_then_changes_nothing),
        cmocka_unit_test(realloc_keeps_the_content_from_any_size_to_any),
        cmocka_unit_test(free_memory_never_exceeds_the_bound),
        cmocka_unit_test(what_waits_decays_to_nothing),
        cmocka_unit_test(trim_leaves_what_is_to_be_kept),
        cmocka_unit_test(the_child_of_a_raw_clone_abandons_what_was_locked),
#ifdef HK_FAULT_INJECTION
        cmocka_unit_test(any_refusal_of_the_kernel_leaves_all_in_order),
#endif
        cmocka_unit_test(threads_may_free_what_others_allocated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
