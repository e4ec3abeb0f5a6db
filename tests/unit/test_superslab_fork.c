/* test_superslab_fork.c - a child of fork has every unit that no run lies in, though another thread was purging at that moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/syscall.h>

#include "../../src/os.h"
#include "../../src/region.h"
#include "../../src/superslab.h"
#include "in_child.h"

#define KIB ((size_t)1 << 10)
#define BLOCKS 48u
#define FORKS 60u

void *hk_test_malloc(size_t size);
void hk_test_free(void *ptr);

static bool stop;
static void *live[BLOCKS];

static void *purge_on_and_on(void *arg)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        superslab_purge(os_now_ms(), 0, 0);
    return arg;
}

/* Units come to be dirty in SuperSlabs that are never empty. */
static void make_dirty(void)
{
    void *blocks[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = hk_test_malloc(900 * KIB);
        if (live[i] == NULL)
            live[i] = hk_test_malloc(40 * KIB);
        memset(blocks[i], 0x55, 900 * KIB);
        memset(live[i], 0x66, 40 * KIB);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        hk_test_free(blocks[i]);
}

static uint32_t units_of_runs(const struct superslab *ss)
{
    uint32_t units = 0;
    for (unsigned first = 0; first < HK_UNITS_PER_SUPERSLAB; first++)
        if (ss->run_units >> first & 1)
            units |= (uint32_t)(((UINT64_C(1) << ss->runs[first].units) - 1) << first);
    return units;
}

static bool reads_as_zeros(const unsigned char *unit)
{
    return unit[0] == 0 && memcmp(unit, unit + 1, HK_UNIT_SIZE - 1) == 0;
}

static int clean_units_are_zero(const struct superslab *ss)
{
    for (unsigned unit = 0; unit < HK_UNITS_PER_SUPERSLAB; unit++)
        if ((ss->free_units & ~ss->dirty_units) >> unit & 1)
            CLAIM(reads_as_zeros(ss->base + unit * HK_UNIT_SIZE));
    return 0;
}

static int all_units_are_there(void *arg)
{
    uint64_t used = 0, dirty = 0, superslabs = 0;
    (void)arg;
    for (uintptr_t idx = 0; idx < region_top(); idx++) {
        const struct superslab *ss = region_superslab(idx);
        if (ss == NULL)
            continue;
        superslabs++;
        CLAIM(ss->free_units == ~units_of_runs(ss));
        CLAIM((ss->dirty_units & ~ss->free_units) == 0);
        int line = clean_units_are_zero(ss);
        if (line != 0)
            return line;
        used += (uint64_t)__builtin_popcount(~ss->free_units);
        dirty += (uint64_t)__builtin_popcount(ss->dirty_units);
    }
    CLAIM(superslabs == hk_account.capacity.superslabs && superslabs > 5);
    CLAIM(used == hk_account.capacity.units_used);
    CLAIM(dirty == hk_account.capacity.units_free_dirty);
    for (unsigned i = 0; i < BLOCKS; i++)
        hk_test_free(live[i]);
    superslab_purge(os_now_ms(), 0, 0);
    CLAIM(superslab_dirty_bytes() == 0);
    return 0;
}

static void a_fork_during_a_purge_loses_no_unit(void **state)
{
    (void)state;
    pthread_t purger;
    assert_int_equal(pthread_create(&purger, NULL, purge_on_and_on, NULL), 0);
    for (unsigned i = 0; i < FORKS; i++) {
        make_dirty();
        assert_int_equal(claims_of(all_units_are_there, NULL), 0);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(purger, NULL);
    assert_int_equal(claims_of(all_units_are_there, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fork_during_a_purge_loses_no_unit),
    };
    return cmocka_run_group_tests_name("superslab_fork", tests, NULL, NULL);
}
