/* test_size_class.c - which class serves a size: every size to 2 MiB, every offset in a slab. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/size_class.h"

static void the_smallest_class_that_fits_serves_a_size(void **state)
{
    (void)state;
    for (size_t size = 0; size <= HK_LARGE_MAX; size++) {
        unsigned c = hk_class_of_size(size);
        if (c >= HK_SIZED_CLASSES || hk_class_size[c] < size || (c > 0 && hk_class_size[c - 1] >= size))
            fail_msg("%zu bytes are served by class %u", size, c);
        if (size <= HK_CACHED_MAX) {
            unsigned code = hk_code_of_size[(size + HK_ALIGNMENT - 1) / HK_ALIGNMENT];
            assert_int_equal(code, HK_CODE_OF_CLASS(c));
            assert_int_equal(HK_CLASS_OF_CODE(code), c);
        }
    }
    assert_int_equal(hk_class_of_size(HK_LARGE_MAX + 1), HK_CLASS_HUGE);
    assert_int_equal(hk_class_of_size(PTRDIFF_MAX), HK_CLASS_HUGE);
    assert_int_equal(hk_class_of_size(SIZE_MAX), HK_CLASS_HUGE);
    assert_int_equal(hk_class_size[HK_CLASS_HUGE], 0);
}

static void sizes_are_multiples_of_16_and_rounding_wastes_an_eighth_at_most(void **state)
{
    (void)state;
    for (unsigned c = 0; c < HK_SIZED_CLASSES; c++) {
        assert_int_equal(hk_class_size[c] % HK_ALIGNMENT, 0);
        if (c == 0)
            continue;
        uint32_t step = hk_class_size[c] - hk_class_size[c - 1];
        assert_true(hk_class_size[c] > hk_class_size[c - 1]);
        assert_true(step <= HK_ALIGNMENT || step <= hk_class_size[c - 1] / 8);
    }
}

static void a_run_holds_its_blocks_and_no_run_is_larger_than_a_superslab(void **state)
{
    (void)state;
    for (unsigned c = 0; c < HK_SIZED_CLASSES; c++) {
        size_t bytes = (size_t)hk_class_units(c) << HK_UNIT_SHIFT;
        assert_true(bytes <= HK_SUPERSLAB_SIZE);
        assert_true(bytes >= hk_class_size[c]);
        if (c >= HK_CACHED_CLASSES)
            assert_true(bytes - hk_class_size[c] < HK_UNIT_SIZE);
        else
            assert_true(bytes % hk_class_size[c] < bytes / 10);
    }
}

/* Offsets that are no multiple of 16 are refused before they are divided. */
static void an_offset_divided_by_the_magic_is_the_index_of_its_block(void **state)
{
    (void)state;
    for (unsigned c = 0; c < HK_CACHED_CLASSES; c++) {
        size_t bytes = (size_t)hk_class_units(c) << HK_UNIT_SHIFT;
        for (size_t offset = 0; offset < bytes; offset += HK_ALIGNMENT) {
            if ((offset * hk_class_magic[c]) >> 32 != offset / hk_class_size[c])
                fail_msg("class %u, offset %zu", c, offset);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_class_that_fits_serves_a_size),
        cmocka_unit_test(sizes_are_multiples_of_16_and_rounding_wastes_an_eighth_at_most),
        cmocka_unit_test(a_run_holds_its_blocks_and_no_run_is_larger_than_a_superslab),
        cmocka_unit_test(an_offset_divided_by_the_magic_is_the_index_of_its_block),
    };
    return cmocka_run_group_tests_name("size_class", tests, NULL, NULL);
}
