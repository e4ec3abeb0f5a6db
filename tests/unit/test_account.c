/* test_account.c - the account: what it says of itself, and what a new generation keeps. Every claim is made in a child, where
 * the account is the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <unistd.h>

#include "../../src/account.h"
#include "../../src/os.h"
#include "in_child.h"

static int headers(void *arg)
{
    (void)arg;
    account_init();
    CLAIM(account_generation() != 0);
    for (unsigned c = 0; c < HK_ACCOUNT_CLASSES; c++) {
        const struct hk_class_account *account = &hk_account.classes[c];
        CLAIM(account->version == HK_ACCOUNT_VERSION);
        CLAIM(account->length == sizeof *account);
        CLAIM(account->class_idx == c);
        CLAIM(account->block_size == hk_class_size[c]);
        CLAIM(account->generation == account_generation());
    }
    CLAIM(hk_account.classes[HK_CLASS_HUGE].block_size == 0);
    return 0;
}

static void every_class_tells_what_it_is(void **state)
{
    (void)state;
    assert_int_equal(claims_of(headers, NULL), 0);
}

static void fill_class(unsigned c)
{
    struct hk_class_account *account = &hk_account.classes[c];
    uint64_t *from = &account->inherited, *to = (uint64_t *)(account + 1);
    while (from < to)
        *from++ = 1000; /* what isn't set below must not be there afterwards */
    account->inherited = 5;
    account->inherited_bytes = 80;
    account->allocs = 100;
    account->frees = 60;
    account->alloc_bytes = 1600;
    account->free_bytes = 960;
    account->cap_blocks = 7;
    account->cached_blocks = 3;
    account->slabs = 2;
    account->slab_blocks = 8192;
}

static int generations(void *arg)
{
    (void)arg;
    account_init();
    for (unsigned c = 0; c < HK_ACCOUNT_CLASSES; c++)
        fill_class(c);
    for (int i = 1; i <= 1000; i++) {
        uint64_t before = account_generation();
        account_new_generation();
        CLAIM(account_generation() > before); /* however fast one follows the other */
    }
    for (unsigned c = 0; c < HK_ACCOUNT_CLASSES; c++) {
        struct hk_class_account *account = &hk_account.classes[c], expected;
        memset(&expected, 0, sizeof expected);
        expected.version = HK_ACCOUNT_VERSION;
        expected.length = sizeof expected;
        expected.class_idx = c;
        expected.block_size = hk_class_size[c];
        expected.generation = account_generation();
        expected.inherited = 45;
        expected.inherited_bytes = 720;
        expected.cap_blocks = 7;
        expected.cached_blocks = 3;
        expected.slabs = 2;
        expected.slab_blocks = 8192;
        CLAIM(memcmp(account, &expected, sizeof expected) == 0);
    }
    CLAIM(os_account.purged == 0 && os_account.map_calls == 0 && os_account.failed_calls == 0);
    CLAIM(os_account.mapped_peak == os_account.mapped);
    return 0;
}

static void a_new_generation_inherits_what_is_live_and_counts_from_0(void **state)
{
    (void)state;
    assert_int_equal(claims_of(generations, NULL), 0);
}

static int frees_first(void *arg)
{
    (void)arg;
    account_init();
    struct hk_class_account *account = &hk_account.classes[3];
    memset(&account->inherited, 0, sizeof *account - offsetof(struct hk_class_account, inherited));
    account->frees = 10;
    account_new_generation();
    account_add(&account->allocs, 12);
    CLAIM(account->inherited + account->allocs - account->frees == 2);
    return 0;
}

static void frees_that_are_known_before_their_allocations_even_out(void **state)
{
    (void)state;
    assert_int_equal(claims_of(frees_first, NULL), 0);
}

static void hits_fall_into_their_bucket(void **state)
{
    (void)state;
    assert_int_equal(account_hits_bucket(0), 0);
    for (unsigned b = 1; b < HK_HITS_BUCKETS - 1; b++) {
        assert_int_equal(account_hits_bucket(UINT64_C(1) << (b - 1)), b);
        assert_int_equal(account_hits_bucket((UINT64_C(1) << b) - 1), b);
    }
    assert_int_equal(account_hits_bucket(UINT64_MAX), HK_HITS_BUCKETS - 1);
}

static uint64_t shared_count;

static void *add(void *arg)
{
    for (int i = 0; i < 100000; i++)
        account_add(&shared_count, 3);
    return arg;
}

static void threads_add_without_loss(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(shared_count, 1200000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class_tells_what_it_is),
        cmocka_unit_test(a_new_generation_inherits_what_is_live_and_counts_from_0),
        cmocka_unit_test(frees_that_are_known_before_their_allocations_even_out),
        cmocka_unit_test(hits_fall_into_their_bucket),
        cmocka_unit_test(threads_add_without_loss),
    };
    return cmocka_run_group_tests_name("account", tests, NULL, NULL);
}
