/* test_shared_pool.c - the pool in a child of a raw clone that caught another thread in the middle of a change: what the lock
 * protects is not believed. Each claim is made in a child, whose one thread's cache is the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "ace_blocks.h"

#include "../../src/legacy.h"
#include "../../src/shared_pool.h"
#include "../../src/slab.h"

#define BLOCKS 6000u

int hk_test_malloc_trim(size_t keep);

static unsigned char *blocks[BLOCKS], *others[2 * BLOCKS];

static struct slab *slab_of(const void *block)
{
    struct slab *slab = superslab_find(block);
    return slab != NULL ? slab : legacy_find(block);
}

static void give_every(unsigned step, unsigned from)
{
    for (unsigned i = from; i < BLOCKS; i += step) {
        hk_test_free(blocks[i]);
        blocks[i] = NULL;
    }
    hk_test_malloc_trim(0); /* into the slabs */
}

/* Bits are taken one by one, and the count is written last: here, of each slab, before that. */
static void catch_takers(void)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        struct slab *slab = blocks[i] != NULL ? slab_of(blocks[i]) : NULL;
        for (unsigned word = 0; slab != NULL && word * 64 < slab->blocks; word++)
            slab->bits[word] &= ~UINT64_C(0xff);
    }
    shared_pool_before_fork();
    shared_pool_after_fork(true);
}

static bool all_are(unsigned char *const *which, unsigned count, size_t size, unsigned char tag)
{
    for (unsigned i = 0; i < count; i++)
        if (which[i] != NULL &&
            (which[i][0] != (unsigned char)(tag + i) || memcmp(which[i], which[i] + 1, size - 1) != 0))
            return false;
    return true;
}

static int caught_taking(void *arg)
{
    size_t size = *(size_t *)arg;
    for (unsigned i = 0; i < BLOCKS; i++)
        memset(blocks[i] = hk_test_malloc(size), (int)(1 + i), size);
    give_every(2, 0);
    catch_takers();
    give_every(4, 1); /* the slabs come into the pool again */
    for (unsigned i = 0; i < 2 * BLOCKS; i++)
        memset(others[i] = hk_test_malloc(size), (int)(7 + i), size);
    CLAIM(all_are(blocks, BLOCKS, size, 1));
    CLAIM(all_are(others, 2 * BLOCKS, size, 7));
    for (unsigned i = 0; i < 2 * BLOCKS; i++)
        hk_test_free(others[i]);
    give_every(1, 0);
    CLAIM(all_are(blocks, BLOCKS, size, 1));
    return 0;
}

static void blocks_that_were_being_taken_are_lost_and_no_others(void **state)
{
    (void)state;
    static size_t sizes[] = {16, 48, 1000, 8192};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        assert_int_equal(claims_of(caught_taking, &sizes[i]), 0);
}

static void so_it_is_where_the_fallback_serves(void **state)
{
    (void)state;
    uint64_t most = hk_config.superslabs;
    hk_config.superslabs = 0;
    blocks_that_were_being_taken_are_lost_and_no_others(state);
    hk_config.superslabs = most;
}

int main(void)
{
    heap_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_that_were_being_taken_are_lost_and_no_others),
        cmocka_unit_test(so_it_is_where_the_fallback_serves),
    };
    return cmocka_run_group_tests_name("shared_pool", tests, NULL, NULL);
}
