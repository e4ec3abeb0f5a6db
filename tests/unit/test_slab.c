/* test_slab.c - slabs of every class, in memory of the test's own: the formula of slab.h, what is refused, what is purged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>

#include "../../src/heap.h"
#include "../../src/os.h"
#include "../../src/slab.h"

static uint64_t bits[HK_SLAB_BITMAP_WORDS];
static struct slab slab;

static void open_slab(unsigned class_idx)
{
    memset(bits, 0, sizeof bits);
    memset(&slab, 0, sizeof slab);
    slab.units = (uint16_t)hk_class_units(class_idx);
    slab.bits = bits;
    slab.base = os_map((size_t)slab.units << HK_UNIT_SHIFT, HK_UNIT_SIZE, OS_META);
    assert_non_null(slab.base);
    slab_open(&slab, class_idx, false);
}

static void close_slab(void)
{
    assert_true(os_unmap(slab.base, (size_t)slab.units << HK_UNIT_SHIFT, OS_META));
}

/* nfree = number of ones in bits[0..blocks), none beyond; no word below hint has a one. */
static void check_slab(void)
{
    unsigned ones = 0;
    for (unsigned w = 0; w < HK_SLAB_BITMAP_WORDS; w++) {
        for (unsigned b = 0; b < 64; b++)
            assert_true(!(bits[w] >> b & 1) || w * 64 + b < slab.blocks);
        ones += (unsigned)__builtin_popcountll(bits[w]);
        assert_true(w >= slab.hint || bits[w] == 0);
    }
    assert_int_equal(slab.nfree, ones);
}

static uint8_t *block_at(unsigned i)
{
    unsigned per_unit = hk_blocks_per_unit(slab.class_idx);
    return slab.base + (i / per_unit << HK_UNIT_SHIFT) + (size_t)(i % per_unit) * hk_class_size[slab.class_idx];
}

static void blocks_are_taken_once_each_lowest_first(void **state)
{
    (void)state;
    for (unsigned c = 0; c < HK_CACHED_CLASSES; c++) {
        open_slab(c);
        check_slab();
        unsigned taken = 0;
        for (uint32_t want = 1; slab.nfree > 0; want = want * 2 + 1) {
            struct hk_chain chain = {NULL, 0};
            uint32_t got = slab_take(&slab, want, &chain);
            assert_int_equal(chain.count, got);
            assert_true(got == want || slab.nfree == 0);
            for (const uint8_t *block = chain.head; block != NULL; block = hk_link(block)) {
                assert_ptr_equal(block, block_at(taken++));
                assert_false(slab_block_is_free(&slab, block));
            }
            check_slab();
        }
        assert_int_equal(taken, slab.blocks);
        struct hk_chain none = {NULL, 0};
        assert_int_equal(slab_take(&slab, 1, &none), 0);
        assert_null(none.head);
        close_slab();
    }
}

static void a_block_given_twice_and_an_interior_pointer_are_refused(void **state)
{
    (void)state;
    for (unsigned c = 0; c < HK_CACHED_CLASSES; c++) {
        open_slab(c);
        struct hk_chain chain = {NULL, 0};
        slab_take(&slab, slab.blocks, &chain);
        uint32_t size = hk_class_size[c];
        for (unsigned i = 0; i < slab.blocks; i += 1 + slab.blocks / 5) {
            for (uint32_t in = 1; in < size; in = in < 64 ? in + 1 : in * 2) {
                assert_false(slab_is_block(&slab, block_at(i) + in));
                assert_int_equal(slab_give(&slab, block_at(i) + in), SLAB_INTERIOR);
            }
            assert_true(slab_is_block(&slab, block_at(i)));
            assert_int_equal(slab_give(&slab, block_at(i)), SLAB_GIVEN);
            assert_true(slab_block_is_free(&slab, block_at(i)));
            assert_int_equal(slab_give(&slab, block_at(i)), SLAB_DOUBLE);
            check_slab();
        }
        assert_false(slab_is_block(&slab, block_at(slab.blocks))); /* the tail holds no block */
        close_slab();
    }
}

static void what_was_given_last_is_found_again(void **state)
{
    (void)state;
    open_slab(0);
    struct hk_chain chain = {NULL, 0}, again = {NULL, 0};
    slab_take(&slab, slab.blocks, &chain);
    assert_int_equal(slab_give(&slab, block_at(4000)), SLAB_GIVEN);
    assert_int_equal(slab_give(&slab, block_at(70)), SLAB_GIVEN);
    check_slab();
    assert_int_equal(slab_take(&slab, 5, &again), 2);
    assert_ptr_equal(again.head, block_at(70));
    assert_ptr_equal(hk_link(again.head), block_at(4000));
    check_slab();
    close_slab();
}

static size_t resident_pages(void)
{
    unsigned char pages[64];
    size_t bytes = (size_t)slab.units << HK_UNIT_SHIFT, n = 0;
    assert_int_equal(mincore(slab.base, bytes, pages), 0);
    for (size_t i = 0; i < bytes / os_page_size; i++)
        n += pages[i] & 1;
    return n;
}

/* One block lives on: its own pages stay, all others go, and a second purge finds nothing. */
static void pages_without_a_block_in_use_are_purged(void **state)
{
    (void)state;
    for (unsigned c = 0; c < HK_CACHED_CLASSES; c++) {
        open_slab(c);
        struct hk_chain chain = {NULL, 0};
        slab_take(&slab, slab.blocks, &chain);
        size_t size = hk_class_size[c], bytes = (size_t)slab.units << HK_UNIT_SHIFT;
        memset(slab.base, 0x5a, bytes);
        slab.dirty_pages = bytes / os_page_size == 64 ? UINT64_MAX : (UINT64_C(1) << bytes / os_page_size) - 1;
        unsigned lives = slab.blocks / 2;
        for (unsigned i = 0; i < slab.blocks; i++)
            if (i != lives)
                assert_int_equal(slab_give(&slab, block_at(i)), SLAB_GIVEN);
        size_t at = (size_t)(block_at(lives) - slab.base);
        size_t stay = (at + size - 1) / os_page_size - at / os_page_size + 1;
        assert_int_equal(slab_purge(&slab), bytes - stay * os_page_size);
        assert_int_equal(resident_pages(), stay);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(block_at(lives)[i], 0x5a);
        assert_int_equal(slab_purge(&slab), 0);
        close_slab();
    }
}

static void a_slab_opened_on_dirty_units_keeps_no_page_without_a_block(void **state)
{
    (void)state;
    for (unsigned c = 0; c < HK_CACHED_CLASSES; c++) {
        open_slab(c);
        size_t in_blocks = (size_t)hk_blocks_per_unit(c) * hk_class_size[c],
               bytes = (size_t)slab.units << HK_UNIT_SHIFT;
        memset(slab.base, 0x5a, bytes);
        slab_open(&slab, c, true);
        assert_int_equal(resident_pages(), slab.units * ((in_blocks + os_page_size - 1) / os_page_size));
        assert_int_equal((unsigned)__builtin_popcountll(slab.dirty_pages), resident_pages());
        close_slab();
    }
}

int main(void)
{
    heap_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_taken_once_each_lowest_first),
        cmocka_unit_test(a_block_given_twice_and_an_interior_pointer_are_refused),
        cmocka_unit_test(what_was_given_last_is_found_again),
        cmocka_unit_test(pages_without_a_block_in_use_are_purged),
        cmocka_unit_test(a_slab_opened_on_dirty_units_keeps_no_page_without_a_block),
    };
    return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
