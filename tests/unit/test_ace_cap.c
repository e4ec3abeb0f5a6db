/* test_ace_cap.c - the cap that follows demand: its formula, its bounds, and where it comes to rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/ace_cap.h"

#define MIB ((size_t)1 << 20)
#define TARGET 90u

static void the_greatest_cap_is_bounded_by_bytes_but_for_the_first_blocks(void **state)
{
    (void)state;
    assert_int_equal(ace_cap_most(1), ACE_CAP_BYTES);
    assert_int_equal(ace_cap_most(MIB), 8);
    assert_int_equal(ace_cap_most(2 * MIB), ACE_CAP_START);
    assert_int_equal(ace_cap_most(SIZE_MAX), ACE_CAP_START);
}

/* The last window of an epoch with so many misses, which left `low` blocks at the least and `peak` at the most. */
static struct ace_cap window(uint32_t cap, uint16_t misses, uint32_t low, uint32_t peak)
{
    struct ace_cap c = {.cap = cap, .requests = ACE_WINDOW, .misses = misses, .low = low, .peak = peak};
    c.windows = ACE_EPOCH - 1;
    return c;
}

static void a_rate_below_the_target_raises_the_cap_by_half_and_one(void **state)
{
    (void)state;
    struct ace_cap c = window(4, 7, 0, 4); /* 57 of 64: 89 % */
    struct ace_cap_move move = ace_cap_adapt(&c, 0, 1000, TARGET);
    assert_int_equal(move.from, 4);
    assert_int_equal(move.to, 7);
    assert_int_equal(move.hit_rate, 89);
    assert_int_equal(c.cap, 7);
    assert_int_equal(c.requests, 0);
    assert_int_equal(c.misses, 0);

    c = window(0, ACE_WINDOW, 0, 0);
    assert_int_equal(ace_cap_adapt(&c, 0, 1000, TARGET).to, 1);
    c = window(100, ACE_WINDOW, 0, 100);
    assert_int_equal(ace_cap_adapt(&c, 0, 120, TARGET).to, 120);
    c = window(UINT32_MAX / 4, ACE_WINDOW, 0, 0);
    assert_int_equal(ace_cap_adapt(&c, 0, UINT32_MAX, 100).to, UINT32_MAX / 4 + UINT32_MAX / 8 + 1);
}

static void a_rate_at_the_target_leaves_a_cap_that_is_all_in_use(void **state)
{
    (void)state;
    struct ace_cap c = window(10, 6, 0, 10); /* 58 of 64: 90 % */
    struct ace_cap_move move = ace_cap_adapt(&c, 3, 1000, TARGET);
    assert_int_equal(move.hit_rate, 90);
    assert_int_equal(move.from, move.to);
    assert_int_equal(c.low, 3);
    assert_int_equal(c.peak, 3);
    assert_int_equal(c.windows, 0);
}

static void what_was_of_no_use_lowers_the_cap(void **state)
{
    (void)state;
    for (uint32_t cap = 1; cap <= 40; cap++)
        for (uint32_t peak = 1; peak <= cap; peak++)
            for (uint32_t low = 0; low <= peak; low++) {
                struct ace_cap c = window(cap, 0, low, peak);
                struct ace_cap_move move = ace_cap_adapt(&c, low, 1000, TARGET);
                assert_int_equal(move.to, peak - (low + 1) / 2);
                assert_true(low == 0 ? move.to <= cap : move.to < cap);
                assert_true(c.low <= c.cap && c.peak <= c.cap);
            }
}

static void what_a_window_leaves_may_serve_the_next_of_the_epoch(void **state)
{
    (void)state;
    struct ace_cap c = window(10, 0, 5, 10);
    c.windows = 0;
    for (unsigned i = 0; i + 1 < ACE_EPOCH; i++) {
        c.requests = ACE_WINDOW;
        assert_int_equal(ace_cap_adapt(&c, 7, 1000, TARGET).to, 10);
        assert_int_equal(c.low, 5);
        assert_int_equal(c.peak, 10);
    }
    c.requests = ACE_WINDOW;
    assert_int_equal(ace_cap_adapt(&c, 7, 1000, TARGET).to, 7);
    assert_int_equal(c.low, 7);
    assert_int_equal(c.peak, 7);
}

static void a_target_of_zero_never_raises_and_of_hundred_minds_every_miss(void **state)
{
    (void)state;
    struct ace_cap c = window(4, ACE_WINDOW, 0, 4);
    assert_int_equal(ace_cap_adapt(&c, 0, 1000, 0).to, 4);
    c = window(4, 1, 0, 4);
    assert_int_equal(ace_cap_adapt(&c, 0, 1000, 100).to, 7);
}

static void the_window_ends_after_so_many_requests_of_either_kind(void **state)
{
    (void)state;
    struct ace_cap c;
    ace_cap_init(&c);
    for (uint32_t i = 1; i < ACE_WINDOW; i++)
        assert_false(i % 2 ? ace_cap_miss(&c) : ace_cap_hit(&c, 0));
    assert_true(ace_cap_hit(&c, 0));
    assert_int_equal(c.misses, ACE_WINDOW / 2);
}

/* A pool without blocks: only the numbers. */
struct pool {
    struct ace_cap cap;
    uint32_t waiting;
    unsigned hits, requests;
};

static void request(struct pool *pool)
{
    bool full;
    pool->requests++;
    if (pool->waiting > 0) {
        pool->hits++;
        full = ace_cap_hit(&pool->cap, --pool->waiting);
    } else {
        full = ace_cap_miss(&pool->cap);
    }
    if (full && ace_cap_adapt(&pool->cap, pool->waiting, 200, TARGET).to < pool->waiting)
        pool->waiting = pool->cap.cap;
}

static void give(struct pool *pool)
{
    if (pool->waiting < pool->cap.cap)
        pool->waiting++;
    ace_cap_put(&pool->cap, pool->waiting);
}

static void bursts(struct pool *pool, unsigned count, unsigned blocks)
{
    pool->hits = pool->requests = 0;
    for (unsigned i = 0; i < count; i++) {
        for (unsigned k = 0; k < blocks; k++)
            request(pool);
        for (unsigned k = 0; k < blocks; k++)
            give(pool);
    }
}

static void the_cap_rises_with_demand_until_the_target_is_met_and_falls_after_it(void **state)
{
    (void)state;
    struct pool pool = {.waiting = 0};
    ace_cap_init(&pool.cap);
    bursts(&pool, 100, 100);
    bursts(&pool, 100, 100);
    assert_true(100 * pool.hits >= TARGET * pool.requests);
    assert_in_range(pool.cap.cap, 90, 120);
    bursts(&pool, 2000, 3);
    assert_true(100 * pool.hits >= TARGET * pool.requests);
    assert_true(pool.cap.cap <= 6);
    assert_true(pool.waiting <= pool.cap.cap);
}

static void demand_beyond_the_greatest_cap_stays_at_it(void **state)
{
    (void)state;
    struct pool pool = {.waiting = 0};
    ace_cap_init(&pool.cap);
    bursts(&pool, 100, 1000);
    assert_int_equal(pool.cap.cap, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_greatest_cap_is_bounded_by_bytes_but_for_the_first_blocks),
        cmocka_unit_test(a_rate_below_the_target_raises_the_cap_by_half_and_one),
        cmocka_unit_test(a_rate_at_the_target_leaves_a_cap_that_is_all_in_use),
        cmocka_unit_test(what_was_of_no_use_lowers_the_cap),
        cmocka_unit_test(what_a_window_leaves_may_serve_the_next_of_the_epoch),
        cmocka_unit_test(a_target_of_zero_never_raises_and_of_hundred_minds_every_miss),
        cmocka_unit_test(the_window_ends_after_so_many_requests_of_either_kind),
        cmocka_unit_test(the_cap_rises_with_demand_until_the_target_is_met_and_falls_after_it),
        cmocka_unit_test(demand_beyond_the_greatest_cap_stays_at_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
