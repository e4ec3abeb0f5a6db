/* test_sample.c - the numbers of allocations between two sampled ones are geometric, and the slow paths count them exactly. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/sample.h"

#define DRAWS 400000

/* Mean and variance are those of the geometric distribution, to five standard errors; seeds are fixed. */
static void draws_are_geometric(void **state)
{
    (void)state;
    static const double means[] = {1, 1.5, 2, 10, 4096, 1e6};
    for (unsigned m = 0; m < sizeof means / sizeof means[0]; m++) {
        struct sample_clock clock = {{0}};
        uint64_t random = 0x9e3779b97f4a7c15u + m;
        double mean = means[m], sum = 0, squares = 0, deviation = sqrt(mean * (mean - 1));
        unsigned ones = 0;
        for (unsigned i = 0; i < DRAWS; i++) {
            sample_draw(&clock, SAMPLE_GUARD, mean, &random);
            double left = clock.left[SAMPLE_GUARD];
            assert_true(left >= 1);
            sum += left;
            squares += (left - mean) * (left - mean);
            ones += left == 1;
        }
        double error = deviation / sqrt(DRAWS);
        if (fabs(sum / DRAWS - mean) > 5 * error)
            fail_msg("mean %.4f instead of %.4f", sum / DRAWS, mean);
        double variance = mean *
                          (mean - 1); /* the error of its estimate: the fourth moment is below nine times its square */
        if (fabs(squares / DRAWS - variance) > 5 * variance * sqrt(9.0 / DRAWS))
            fail_msg("variance %.4f instead of %.4f", squares / DRAWS, variance);
        if (fabs(ones / (double)DRAWS - 1 / mean) > 5 * sqrt(1 / mean / DRAWS))
            fail_msg("P(1) %.6f instead of %.6f", ones / (double)DRAWS, 1 / mean);
    }
}

/* However the allocations are split into fast and slow ones, the one that was drawn is the one that is due. */
static void the_drawn_one_is_due(void **state)
{
    (void)state;
    uint64_t random = 42;
    for (unsigned round = 0; round < 20000; round++) {
        struct sample_clock clock = {{0}};
        sample_draw(&clock, SAMPLE_GUARD, 1 + round % 300, &random);
        uint32_t drawn = clock.left[SAMPLE_GUARD], passed = 0;
        assert_true(sample_is_running(&clock));
        for (bool due = false; !due;) {
            uint32_t budget = sample_bound(&clock, 1 + round % 97), fast = budget - round % 3 % (budget + 1);
            sample_pass(&clock, fast);
            passed += fast + 1;
            due = sample_take(&clock, SAMPLE_GUARD);
            assert_true(due == (passed == drawn));
        }
        assert_false(sample_is_running(&clock));
        assert_false(sample_take(&clock, SAMPLE_GUARD));
    }
}

static void probabilities_are_those_of_the_exponential(void **state)
{
    (void)state;
    for (double mean = 1; mean < 1e12; mean *= 7)
        for (double bytes = 16; bytes < 1e12; bytes *= 3) {
            double p = sample_probability((size_t)bytes, mean), right = -expm1(-(double)(size_t)bytes / mean);
            if (fabs(p - right) > 1e-9 * right)
                fail_msg("%.0f bytes, mean %.0f: %.12g instead of %.12g", bytes, mean, p, right);
        }
}

static void it_happens_as_often_as_the_probability_says(void **state)
{
    (void)state;
    static const double probabilities[] = {1, 0.9, 0.5, 1e-3};
    uint64_t random = 7;
    for (unsigned k = 0; k < sizeof probabilities / sizeof probabilities[0]; k++) {
        double p = probabilities[k], n = 0;
        for (unsigned i = 0; i < DRAWS; i++)
            n += sample_happens(p, &random);
        if (fabs(n - DRAWS * p) > 5 * sqrt(DRAWS * p * (1 - p)))
            fail_msg("%.0f times of %d, p %.4f", n, DRAWS, p);
    }
}

static void nothing_is_bound_when_nothing_is_drawn(void **state)
{
    (void)state;
    struct sample_clock clock = {{0}};
    assert_int_equal(sample_bound(&clock, 1024), 1024);
    sample_pass(&clock, 500);
    assert_false(sample_is_running(&clock));
}

/* Where `bytes` pass each millisecond for `seconds`, one sample is told for each mean in force. Returns samples in the last second. */
static unsigned run_rate(struct sample_rate *rate, uint64_t *now_ms, double bytes, unsigned seconds, uint64_t most)
{
    const double mean = 512 << 10;
    unsigned samples = 0;
    double passed = 0;
    for (unsigned ms = 0; ms < seconds * 1000; ms++, ++*now_ms) {
        if (ms % 1000 == 0)
            samples = 0;
        for (passed += bytes; passed >= mean * (1u << sample_rate_doublings(rate, *now_ms, most)); samples++) {
            passed -= mean * (1u << sample_rate_doublings(rate, *now_ms, most));
            sample_rate_count(rate, *now_ms, most);
        }
    }
    return samples;
}

/* 1 to 200 GB/s: at least a fourth of the rate, and not above it but while the mean grows; then back to what is asked for. */
static void the_mean_grows_with_the_rate_and_falls_again(void **state)
{
    (void)state;
    struct sample_rate rate = {0};
    uint64_t now_ms = 123456;
    assert_in_range(run_rate(&rate, &now_ms, 2.5e5, 5, 500), 475, 478); /* 250 MB/s: as configured */
    assert_int_equal(rate.doublings, 0);
    static const double bytes_a_ms[] = {1e6, 1e8, 2e8, 1e7, 1e6};
    for (unsigned i = 0; i < sizeof bytes_a_ms / sizeof bytes_a_ms[0]; i++) {
        assert_in_range(run_rate(&rate, &now_ms, bytes_a_ms[i], 8, 500), 125, 510);
    }
    assert_true(rate.doublings > 0);
    run_rate(&rate, &now_ms, 1e3, 3, 500);
    assert_int_equal(rate.doublings, 0);
    assert_true(run_rate(&rate, &now_ms, 1e8, 2, 0) > 190000); /* without a bound */
    assert_int_equal(rate.doublings, 0);
}

/* Nothing comes for hours: the first that is drawn then is drawn with the mean that is asked for. */
static void a_pause_is_no_rate(void **state)
{
    (void)state;
    struct sample_rate rate = {0};
    for (unsigned i = 0; i < 5000; i++)
        sample_rate_count(&rate, 77, 500);
    assert_int_equal(rate.doublings, 10);
    for (unsigned i = 0; i < 5000; i++)
        sample_rate_count(&rate, 77, 500);
    assert_int_equal(sample_rate_doublings(&rate, 77, 500), SAMPLE_DOUBLINGS_MOST);
    assert_int_equal(sample_rate_doublings(&rate, 77 + 36000000, 500), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_are_geometric),
        cmocka_unit_test(the_drawn_one_is_due),
        cmocka_unit_test(probabilities_are_those_of_the_exponential),
        cmocka_unit_test(it_happens_as_often_as_the_probability_says),
        cmocka_unit_test(the_mean_grows_with_the_rate_and_falls_again),
        cmocka_unit_test(a_pause_is_no_rate),
        cmocka_unit_test(nothing_is_bound_when_nothing_is_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
