/* test_ace_resize.c - ACE: blocks that grow and shrink, where they lie or by moving their pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ace_blocks.h"

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

IN_A_CHILD(a_large_block_grows_within_its_units, large_resize)
IN_A_CHILD(growth_by_small_steps_asks_the_kernel_seldom, small_steps)
IN_A_CHILD(a_huge_block_grows_and_shrinks_without_a_copy, huge_resize)
IN_A_CHILD(growth_goes_on_to_the_limit_and_then_changes_nothing, growth_under_a_limit)
IN_A_CHILD(realloc_keeps_the_content_from_any_size_to_any, realloc_keeps_content)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_block_grows_within_its_units),
        cmocka_unit_test(growth_by_small_steps_asks_the_kernel_seldom),
        cmocka_unit_test(a_huge_block_grows_and_shrinks_without_a_copy),
        cmocka_unit_test(growth_goes_on_to_the_limit_and_then_changes_nothing),
        cmocka_unit_test(realloc_keeps_the_content_from_any_size_to_any),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
