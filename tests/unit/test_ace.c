/* test_ace.c - ACE through the whole library: what it serves, what it counts, how it fails, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/ace_cap.h"
#include "ace_blocks.h"

#define MANY 200u

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
    CLAIM(hk_account.classes[HK_CLASS_HUGE].misses < hk_account.classes[HK_CLASS_HUGE].allocs); /* dirt was met */
    return 0;
}

/* ---- the counts ---- */

static int hits_and_misses(void *arg)
{
    (void)arg;
    const size_t size = 100 * KIB;
    const struct hk_class_account *a = &hk_account.classes[hk_class_of_size(size)];
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
    const struct hk_class_account *a = &hk_account.classes[hk_class_of_size(size)];
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
    CLAIM(hk_account.classes[HK_CLASS_HUGE].ace_fails[ACE_THRESHOLD] == 1);
    CLAIM(hk_account.classes[hk_class_of_size(100 * KIB)].ace_fails[ACE_THRESHOLD] == 1);
    CLAIM(block_bytes(aligned) == hk_class_size[hk_class_of_size(100 * KIB)]);
    size_t mapped = os_account.mapped;
    CLAIM(free_block(large));
    CLAIM(os_account.mapped == mapped - 5 * MIB); /* not cached */
    CLAIM(hk_account.capacity.huge_cached == 0);
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
    CLAIM(hk_account.classes[class_idx].ace_fails[ACE_EXHAUSTION] == 1);
    CLAIM(hk_account.classes[class_idx].allocs == 0 && hk_account.classes[HK_CLASS_HUGE].allocs == 1);
    CLAIM(free_block(block));
    CLAIM(!free_block(block));
    CHECK_ACCOUNT();
    return 0;
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
    CLAIM(hk_account.classes[HK_CLASS_HUGE].ace_fails[ACE_MAPFAIL] == 1);
    CLAIM(hk_account.classes[HK_CLASS_HUGE].allocs == 0 && hk_account.classes[HK_CLASS_HUGE].misses == 0);
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
    CLAIM(hk_account.region.units << HK_UNIT_SHIFT >= 400 * MIB);
    limit_address_space(16 * MIB);
    void *block = ace_alloc(200 * MIB, HK_ALIGNMENT, false);
    CLAIM(block != NULL);
    CLAIM(hk_account.classes[HK_CLASS_HUGE].ace_fails[ACE_MAPFAIL] == 0);
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
    assert_told(map_fail,
                (const char *const[]){
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
            CLAIM(place.slab == NULL ||
                  ace_resize_large(place.slab, block + at, sizes[i], HK_ALIGNMENT, false) == NULL);
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

/* ---- the list ---- */

IN_A_CHILD(every_large_size_gets_a_block_of_its_class_apart_from_the_others, every_size_gets_its_class)
IN_A_CHILD(every_alignment_is_kept, any_alignment)
IN_A_CHILD(a_zeroed_block_is_zero_where_a_dirty_one_was, zeros_after_dirt)
IN_A_CHILD(hits_misses_and_blocks_are_counted_exactly, hits_and_misses)
IN_A_CHILD(the_cap_follows_demand_up_and_down, the_cap_moves)
IN_A_CHILD(an_unused_region_makes_room_for_a_refused_mapping, the_region_makes_room)
IN_A_CHILD(second_frees_and_interior_pointers_are_refused, misuse)

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
