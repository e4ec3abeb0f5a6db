/* test_outer_map.c - whose a unit outside the region is: every address may be asked for, and only what was entered is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../src/os.h"
#include "../../src/outer_map.h"
#include "in_child.h"

#define ADDRESS(n) ((void *)(uintptr_t)(n))
#define GIB UINT64_C(0x40000000)

static struct {
    _Alignas(4) int anything;
} first_owner, second_owner;

static void belongs_to_nobody(const void *ptr)
{
    struct outer_entry entry = outer_map_find(ptr);
    assert_int_equal(entry.kind, OUTER_NONE);
    assert_null(entry.owner);
}

static void belongs_to(const void *ptr, enum outer_kind kind, void *owner)
{
    struct outer_entry entry = outer_map_find(ptr);
    assert_int_equal(entry.kind, kind);
    assert_ptr_equal(entry.owner, owner);
}

static void any_address_may_be_asked_for(void **state)
{
    (void)state;
    int on_stack;
    const uint64_t addresses[] = {0,
                                  1,
                                  0xffff,
                                  0x10000,
                                  (UINT64_C(1) << 47) - 1,
                                  UINT64_C(1) << 47,
                                  (UINT64_C(1) << 48) - 1,
                                  UINT64_C(1) << 48,
                                  UINT64_C(1) << 63,
                                  UINT64_MAX};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        belongs_to_nobody(ADDRESS(addresses[i]));
    for (unsigned bit = 0; bit < 64; bit++)
        belongs_to_nobody(ADDRESS(UINT64_C(1) << bit));
    belongs_to_nobody(&on_stack);
}

static void what_is_entered_is_found_in_its_units_alone(void **state)
{
    (void)state;
    char *base = ADDRESS(UINT64_C(0x7abc00000000) + 5 * HK_UNIT_SIZE);
    errno = 4711;
    assert_true(outer_map_set(base, 3, OUTER_LEGACY, &first_owner));
    assert_true(outer_map_set(base + 3 * HK_UNIT_SIZE, 1, OUTER_HUGE, &second_owner));
    assert_int_equal(errno, 4711);
    belongs_to_nobody(base - 1);
    belongs_to(base, OUTER_LEGACY, &first_owner);
    belongs_to(base + 12345, OUTER_LEGACY, &first_owner);
    belongs_to(base + 3 * HK_UNIT_SIZE - 1, OUTER_LEGACY, &first_owner);
    belongs_to(base + 3 * HK_UNIT_SIZE, OUTER_HUGE, &second_owner);
    belongs_to(base + 4 * HK_UNIT_SIZE - 1, OUTER_HUGE, &second_owner);
    belongs_to_nobody(base + 4 * HK_UNIT_SIZE);
    outer_map_clear(base, 2);
    belongs_to_nobody(base + 2 * HK_UNIT_SIZE - 1);
    belongs_to(base + 2 * HK_UNIT_SIZE, OUTER_LEGACY, &first_owner);
    assert_true(outer_map_set(base, 1, OUTER_HUGE, &second_owner));
    belongs_to(base, OUTER_HUGE, &second_owner);
    outer_map_clear(base, 4);
    for (unsigned i = 0; i < 5; i++)
        belongs_to_nobody(base + i * HK_UNIT_SIZE);
    assert_true(outer_map_set(base, 0, OUTER_HUGE, &second_owner));
    belongs_to_nobody(base);
}

static void an_entry_may_span_leaves(void **state)
{
    (void)state;
    char *border = ADDRESS(UINT64_C(0x123) << 32), *base = border - 4 * HK_UNIT_SIZE;
    const unsigned units = 65536 + 9; /* into a third leaf */
    assert_true(outer_map_set(base, units, OUTER_LEGACY, &first_owner));
    belongs_to_nobody(base - 1);
    for (unsigned i = 0; i < units; i++)
        belongs_to(base + i * HK_UNIT_SIZE + 7, OUTER_LEGACY, &first_owner);
    belongs_to_nobody(base + units * HK_UNIT_SIZE);
    outer_map_clear(base, units);
    for (unsigned i = 0; i < units; i++)
        belongs_to_nobody(base + i * HK_UNIT_SIZE + 7);
}

static void an_address_beyond_48_bits_is_refused(void **state)
{
    (void)state;
    char *top = ADDRESS((UINT64_C(1) << 48) - HK_UNIT_SIZE);
    errno = 0;
    assert_false(outer_map_set(ADDRESS(UINT64_C(1) << 48), 1, OUTER_HUGE, &first_owner));
    assert_int_equal(errno, ENOMEM);
    assert_false(outer_map_set(top, 2, OUTER_HUGE, &first_owner));
    belongs_to_nobody(top);
    assert_true(outer_map_set(top, 1, OUTER_HUGE, &first_owner));
    belongs_to(top + HK_UNIT_SIZE - 1, OUTER_HUGE, &first_owner);
    outer_map_clear(top, 2);
    belongs_to_nobody(top);
    outer_map_clear(ADDRESS(UINT64_C(1) << 60), 3);
}

static int without_memory(void *arg)
{
    (void)arg;
    struct rlimit none = {0, RLIM_INFINITY};
    char *known = ADDRESS(UINT64_C(0x11) << 32), *unknown = known + 4 * GIB;
    CLAIM(outer_map_set(known, 1, OUTER_HUGE, &first_owner));
    CLAIM(setrlimit(RLIMIT_AS, &none) == 0);
    errno = 0;
    CLAIM(!outer_map_set(unknown - HK_UNIT_SIZE, 2, OUTER_LEGACY, &second_owner));
    CLAIM(errno == ENOMEM);
    CLAIM(outer_map_find(unknown - HK_UNIT_SIZE).kind == OUTER_NONE); /* nothing of it was entered */
    CLAIM(outer_map_set(known + HK_UNIT_SIZE, 1, OUTER_LEGACY, &second_owner));
    CLAIM(outer_map_find(known + HK_UNIT_SIZE).owner == &second_owner);
    return 0;
}

static void nothing_is_entered_when_memory_is_refused(void **state)
{
    (void)state;
    assert_int_equal(claims_of(without_memory, NULL), 0);
}

static pthread_barrier_t together;

/* All threads enter into the same new leaves at once, each its own units. */
static void *enter_everywhere(void *arg)
{
    uintptr_t failures = 0, mine = (uintptr_t)arg;
    for (uintptr_t leaf = 0x400; leaf < 0x440; leaf++) {
        char *ptr = ADDRESS(leaf << 32 | mine << HK_UNIT_SHIFT);
        pthread_barrier_wait(&together);
        failures += !outer_map_set(ptr, 1, OUTER_HUGE, &first_owner);
        failures += outer_map_find(ptr).owner != &first_owner;
    }
    return (void *)failures;
}

static void threads_that_make_the_same_leaf_lose_nothing(void **state)
{
    (void)state;
    pthread_t threads[8];
    uint64_t mapped = atomic_load_relaxed(&os_account.mapped);
    assert_int_equal(pthread_barrier_init(&together, NULL, 8), 0);
    for (uintptr_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, enter_everywhere, (void *)i), 0);
    for (int i = 0; i < 8; i++) {
        void *failures;
        assert_int_equal(pthread_join(threads[i], &failures), 0);
        assert_null(failures);
    }
    for (uintptr_t leaf = 0x400; leaf < 0x440; leaf++) {
        for (uintptr_t i = 0; i < 8; i++)
            belongs_to(ADDRESS(leaf << 32 | i << HK_UNIT_SHIFT), OUTER_HUGE, &first_owner);
        belongs_to_nobody(ADDRESS(leaf << 32 | 8 << HK_UNIT_SHIFT));
    }
    /* What the losers mapped is unmapped. */
    assert_int_equal(atomic_load_relaxed(&os_account.mapped) - mapped, UINT64_C(64) * 65536 * sizeof(uintptr_t));
}

int main(void)
{
    os_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_address_may_be_asked_for),
        cmocka_unit_test(what_is_entered_is_found_in_its_units_alone),
        cmocka_unit_test(an_entry_may_span_leaves),
        cmocka_unit_test(an_address_beyond_48_bits_is_refused),
        cmocka_unit_test(nothing_is_entered_when_memory_is_refused),
        cmocka_unit_test(threads_that_make_the_same_leaf_lose_nothing),
    };
    return cmocka_run_group_tests_name("outer_map", tests, NULL, NULL);
}
