/* test_ace_resize.c - ACE: blocks that grow and shrink, where they lie or by moving their pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/mman.h>

#include "ace_blocks.h"
#include "map_lines.h"

static int large_resize(void *arg)
{
    (void)arg;
    char *block = ace_alloc(70 * KIB, HK_ALIGNMENT, false); /* 72 KiB in two units */
    fill(block, 72 * KIB, 7);
    CLAIM(resize(block, 128 * KIB, true) == block && block_bytes(block) == 128 * KIB);
    CLAIM(is_filled(block, 72 * KIB, 7));
    CHECK_ACCOUNT();
    char *behind = ace_alloc(40 * KIB, HK_ALIGNMENT, false);
    CLAIM(behind == block + 128 * KIB);
    CLAIM(resize(block, 128 * KIB + 1, true) == NULL && resize(block, 128 * KIB + 1, false) == NULL);
    CLAIM(resize(block, 64 * KIB, false) == block && block_bytes(block) == 128 * KIB);
    CLAIM(resize(block, 64 * KIB - 1, false) == NULL);
    CLAIM(resize(block, 1, true) == block);
    CLAIM(free_block(block));
    CHECK_ACCOUNT();
    CLAIM(ace_alloc(128 * KIB, HK_ALIGNMENT, false) == block); /* it waits where its size belongs */
    return 0;
}

/* Over units that are free, clean or dirty, as far as they go. */
static int grows_in_place(void *arg)
{
    (void)arg;
    char *block = ace_alloc(64 * KIB, HK_ALIGNMENT, false);
    char *other = ace_alloc(MIB, HK_ALIGNMENT, false);
    CLAIM(other == block + 64 * KIB);
    fill(block, 64 * KIB, 1);
    fill(other, MIB, 2);
    CLAIM(free_block(other));
    ace_decay(os_now_ms(), 0);
    CLAIM(hk_account.capacity.units_free_dirty == 16 && hk_account.capacity.units_used == 1);
    for (size_t size = 64 * KIB; size < 2 * MIB; size *= 2) {
        CLAIM(resize(block, 2 * size, size % 2 != 0) == block && block_bytes(block) == 2 * size);
        CLAIM(is_filled(block, size, 1));
        fill_rest(block, size, 2 * size, 1);
        CLAIM(hk_account.capacity.units_used == 2 * size / HK_UNIT_SIZE);
        CLAIM(hk_account.capacity.units_free_dirty == (size < MIB ? 17 - 2 * size / HK_UNIT_SIZE : 0));
        CLAIM(heap_find(block + 2 * size - 1).slab == heap_find(block).slab);
        CHECK_ACCOUNT();
    }
    CLAIM(resize(block, 2 * MIB + 1, true) == NULL); /* the SuperSlab ends */
    CLAIM(free_block(block) && block_bytes(block) == 0);
    ace_decay(os_now_ms(), 0);
    CLAIM(hk_account.capacity.units_used == 0 && hk_account.capacity.units_free_dirty == 32);
    CHECK_ACCOUNT();
    return 0;
}

#ifndef UNDER_TSAN /* which forbids growth of a mapping in place, and so these moves */
static int run_moves(void *arg)
{
    (void)arg;
    size_t from = *(size_t *)arg, to = 3 * from;
    char *block = ace_alloc(from, HK_ALIGNMENT, false), *fence = ace_alloc(64 * KIB, HK_ALIGNMENT, false);
    fill(block, from, 3);
    CLAIM(free_block(ace_alloc(3 * MIB, HK_ALIGNMENT, false))); /* the tables for such blocks are there */
    ace_decay(os_now_ms(), 0);
    struct os_account os = os_account;
    struct hk_capacity before = hk_account.capacity;
    errno = AN_ERRNO;
    char *now = resize(block, to, false);
    CLAIM(now != NULL && now != block && heap_find(now).huge != NULL && block_bytes(now) == to && errno == AN_ERRNO);
    CLAIM(heap_find(block).slab == NULL && heap_find(block).huge == NULL && block_bytes(block) == 0);
    CLAIM(is_filled(now, from, 3) && is_zero(now + from, to - from) && is_zero(block, from));
    CLAIM(hk_account.capacity.units_used == before.units_used - from / HK_UNIT_SIZE);
    CLAIM(hk_account.capacity.units_free_dirty == before.units_free_dirty);
    CLAIM(hk_account.capacity.huge_blocks == before.huge_blocks + 1 &&
          hk_account.capacity.huge_bytes == before.huge_bytes + to);
    CLAIM(os_account.purged == os.purged + from && os_account.purge_calls == os.purge_calls + 1);
    CLAIM(os_account.map_calls == os.map_calls + 1 && os_account.failed_calls == os.failed_calls);
    CLAIM(os_account.mapped >= os.mapped + to && os_account.mapped <= os.mapped + to + to / 8 + HK_UNIT_SIZE);
    CHECK_ACCOUNT();
    CLAIM(ace_alloc(from, HK_ALIGNMENT, true) == block && is_zero(block, from)); /* the units serve again */
    fill(block, from, 4);
    fill(now, to, 5);
    char *more = resize(now, 5 * to, false);
    CLAIM(more != NULL && is_filled(more, to, 5) && is_filled(block, from, 4) && heap_find(more).huge != NULL);
    CHECK_ACCOUNT();
    CLAIM(resize(more, 3 * to, true) == more && block_bytes(more) == 3 * to && is_filled(more, to, 5));
    CLAIM(free_block(more) && !free_block(more) && free_block(block) && free_block(fence));
    CHECK_ACCOUNT();
    CLAIM(hk_account.capacity.huge_blocks == before.huge_blocks && hk_account.capacity.huge_bytes == before.huge_bytes);
    return 0;
}

static void a_run_that_is_hemmed_in_moves_its_pages(void **state)
{
    (void)state;
    static size_t from[] = {512 * KIB, 640 * KIB, 2 * MIB};
    for (unsigned i = 0; i < sizeof from / sizeof from[0]; i++)
        assert_int_equal(claims_of(run_moves, &from[i]), 0);
}

static int moves_to_alignment(void *arg)
{
    (void)arg;
    for (size_t align = 64; align <= 8 * MIB; align *= 2) {
        char *block = ace_alloc(MIB, align < MIB ? align : MIB, false);
        char *fence = ace_alloc(64 * KIB, HK_ALIGNMENT, false);
        fill(block, MIB, align);
        struct heap_place place = heap_find(block);
        char *now = ace_resize_large(place.slab, block, 2 * MIB, align, false);
        CLAIM(now != NULL && (uintptr_t)now % align == 0 && is_filled(now, MIB, align));
        CLAIM(free_block(now) && free_block(fence));
        ace_decay(os_now_ms(), 0);
    }
    CHECK_ACCOUNT();
    return 0;
}

/* Where a block of the size waits, its pages are worth a copy. */
static int what_waits_is_used(void *arg)
{
    (void)arg;
    char *block = ace_alloc(MIB, HK_ALIGNMENT, false), *fence = ace_alloc(64 * KIB, HK_ALIGNMENT, false);
    fill(block, MIB, 1);
    CLAIM(free_block(ace_alloc(3 * MIB, HK_ALIGNMENT, false)));
    CLAIM(resize(block, 2 * MIB, false) == NULL);
    ace_decay(os_now_ms(), 0);
    char *large = ace_alloc(2 * MIB, HK_ALIGNMENT, false);
    CLAIM(free_block(large) && resize(block, 2 * MIB, false) == NULL);
    CLAIM(ace_alloc(2 * MIB, HK_ALIGNMENT, false) == large);
    char *now = resize(block, 2 * MIB, false);
    CLAIM(now != NULL && is_filled(now, MIB, 1));
    CLAIM(free_block(now) && free_block(large) && free_block(fence));
    CHECK_ACCOUNT();
    return 0;
}

/* More blocks than may have a mapping of their own; only a word of each is touched. */
static int mappings_are_bounded(void *arg)
{
    (void)arg;
    enum { BLOCKS = 9000, MOST = 8192 };
    static uint64_t *blocks[BLOCKS];
    size_t before = map_lines(), moved = 0;
    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = ace_alloc(512 * KIB, HK_ALIGNMENT, false);
        *blocks[i] = i;
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        uint64_t *now = resize(blocks[i], MIB, false);
        moved += now != NULL;
        CLAIM(now != blocks[i] && (now != NULL) == (moved <= MOST && moved == i + 1));
        if (now != NULL)
            blocks[i] = now;
    }
    CLAIM(moved == MOST && map_lines() <= before + MOST + 150);
    for (unsigned i = 0; i < BLOCKS; i++)
        CLAIM(*blocks[i] == i && free_block(blocks[i]));
    ace_decay(os_now_ms(), 0);
    superslab_purge(os_now_ms(), 0, 0);
    CLAIM(map_lines() <= before + 150); /* the tables have two for each of their chunks */
    CHECK_ACCOUNT();
    return 0;
}
#endif

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
    CLAIM(hk_account.capacity.huge_bytes >= size + 3 * MIB);
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
    CLAIM(hk_account.capacity.huge_blocks == 0 && hk_account.capacity.huge_bytes == 0);
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

/* A limit that the move of a run would exceed: it stays, whole. */
static int run_under_a_limit(void *arg)
{
    (void)arg;
    superslab_shrink_region();
    char *block = ace_alloc(2 * MIB, HK_ALIGNMENT, false);
    fill(block, 2 * MIB, 3);
    limit_address_space(4 * MIB);
    struct hk_capacity before = hk_account.capacity;
    errno = AN_ERRNO;
    CLAIM(resize(block, 8 * MIB, false) == NULL && errno == AN_ERRNO);
    CLAIM(memcmp(&before, &hk_account.capacity, sizeof before) == 0);
    CLAIM(block_bytes(block) == 2 * MIB && is_filled(block, 2 * MIB, 3));
    CHECK_ACCOUNT();
#ifndef UNDER_TSAN
    char *now = resize(block, 3 * MIB, false);
    CLAIM(now != NULL && is_filled(now, 2 * MIB, 3));
#endif
    return 0;
}

#ifdef HK_FAULT_INJECTION
/* Growth to where the outer map has no leaf yet: below what a reservation of a leaf's reach covers. Whatever is refused, the
 * block stays known, where it is or where it went. */
struct refusal {
    size_t from;
    unsigned at, in_a_row;
    bool *moved; /* shared with the child */
};

static int leaf_is_refused(void *arg)
{
    const struct refusal *refusal = arg;
    char *block = ace_alloc(refusal->from, HK_ALIGNMENT, false), *fence = ace_alloc(64 * KIB, HK_ALIGNMENT, false);
    fill(block, refusal->from, 8);
    CLAIM(fence != NULL && os_reserve(4 * GIB, HK_UNIT_SIZE) != NULL);
    uint64_t meta = os_account.meta;
    atomic_store_relaxed(&os_fail_for, refusal->in_a_row);
    atomic_store_relaxed(&os_fail_at, refusal->at);
    char *now = resize(block, 40 * MIB, false);
    atomic_store_relaxed(&os_fail_at, 0);
    *refusal->moved = now != NULL;
    CLAIM(now == NULL || os_account.meta > meta); /* a leaf was needed */
    if (now == NULL)
        now = block;
    CLAIM(block_bytes(now) >= refusal->from && is_filled(now, refusal->from, 8));
    CHECK_ACCOUNT();
    CLAIM(free_block(now) && free_block(fence));
    return 0;
}

static void a_block_stays_known_when_the_map_of_its_new_place_is_refused(void **state)
{
    (void)state;
    bool *moved = mmap(NULL, sizeof *moved, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(moved, MAP_FAILED);
    for (unsigned run = 0; run < 2; run++) {
        struct refusal refusal = {.from = run ? 512 * KIB : 3 * MIB, .moved = moved};
        unsigned moves = 0, tries = 0;
        for (refusal.in_a_row = 1; refusal.in_a_row <= 64; refusal.in_a_row *= 8)
            for (refusal.at = 1; refusal.at <= 12; refusal.at++, tries++) {
                assert_int_equal(claims_of(leaf_is_refused, &refusal), 0);
                moves += *moved;
            }
        assert_true(moves < tries);
#ifdef UNDER_TSAN
        assert_true(moves > 0 || run);
#else
        assert_true(moves > 0);
#endif
    }
    munmap(moved, sizeof *moved);
}
#endif

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

IN_A_CHILD(a_large_block_grows_within_its_units, large_resize)
IN_A_CHILD(a_large_block_grows_over_free_units_behind_it, grows_in_place)
#ifndef UNDER_TSAN
IN_A_CHILD(a_moved_run_gets_the_alignment_asked_for, moves_to_alignment)
IN_A_CHILD(a_run_does_not_move_where_a_block_of_the_size_waits, what_waits_is_used)
IN_A_CHILD(moved_runs_make_no_more_mappings_than_an_eighth, mappings_are_bounded)
#endif
IN_A_CHILD(a_run_under_a_limit_stays, run_under_a_limit)
IN_A_CHILD(growth_by_small_steps_asks_the_kernel_seldom, small_steps)
IN_A_CHILD(a_huge_block_grows_and_shrinks_without_a_copy, huge_resize)
IN_A_CHILD(growth_goes_on_to_the_limit_and_then_changes_nothing, growth_under_a_limit)
IN_A_CHILD(realloc_keeps_the_content_from_any_size_to_any, realloc_keeps_content)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_block_grows_within_its_units),
        cmocka_unit_test(a_large_block_grows_over_free_units_behind_it),
#ifndef UNDER_TSAN
        cmocka_unit_test(a_run_that_is_hemmed_in_moves_its_pages),
        cmocka_unit_test(a_moved_run_gets_the_alignment_asked_for),
        cmocka_unit_test(a_run_does_not_move_where_a_block_of_the_size_waits),
        cmocka_unit_test(moved_runs_make_no_more_mappings_than_an_eighth),
#endif
        cmocka_unit_test(a_run_under_a_limit_stays),
#ifdef HK_FAULT_INJECTION
        cmocka_unit_test(a_block_stays_known_when_the_map_of_its_new_place_is_refused),
#endif
        cmocka_unit_test(growth_by_small_steps_asks_the_kernel_seldom),
        cmocka_unit_test(a_huge_block_grows_and_shrinks_without_a_copy),
        cmocka_unit_test(growth_goes_on_to_the_limit_and_then_changes_nothing),
        cmocka_unit_test(realloc_keeps_the_content_from_any_size_to_any),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
