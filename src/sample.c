#include "sample.h"

#include "os.h"

#define LEFT_MOST 0x7fffffffu
#define WINDOW_MS 1000u

void sample_pass(struct sample_clock *clock, uint32_t allocs)
{
    for (unsigned kind = 0; kind < SAMPLE_KINDS; kind++)
        clock->left[kind] -= clock->left[kind] > allocs ? allocs : clock->left[kind];
}

bool sample_take(struct sample_clock *clock, enum sample_kind kind)
{
    if (clock->left[kind] == 0)
        return false;
    return --clock->left[kind] == 0;
}

/* Marsaglia's xorshift64* (Xorshift RNGs, Journal of Statistical Software 8, 2003; the multiplier is Vigna's). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state != 0 ? *state : os_random64() | 1;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(2685821657736338717);
}

/* ln(x) for 0 < x <= 1 to nine digits, since libm is not at hand: x = m 2^-e with m in [1, 2), and ln m = 2 artanh z by its series. */
static double log_of(double x)
{
    static const double ln2 = 0.69314718055994530942;
    int exponent = 0;
    while (x < 1.0) {
        x *= 2.0;
        exponent++;
    }
    double z = (x - 1.0) / (x + 1.0), square = z * z, sum = 0.0, power = z;
    for (unsigned n = 1; n <= 17; n += 2, power *= square)
        sum += power / n;
    return 2.0 * sum - exponent * ln2;
}

/* With p = 1 / mean a geometric n has P(n > k) = (1 - p)^k, so that n = 1 + floor(ln u / ln(1 - p)) for a uniform u. */
void sample_draw(struct sample_clock *clock, enum sample_kind kind, double mean, uint64_t *random)
{
    double uniform = (double)((next_random(random) >> 11) + 1) * 0x1p-53; /* in (0, 1] */
    double left = mean > 1.0 ? 1.0 + log_of(uniform) / log_of(1.0 - 1.0 / mean) : 1.0;
    clock->left[kind] = left < LEFT_MOST ? (uint32_t)left : LEFT_MOST;
}

double sample_probability(size_t bytes, double mean)
{
    double x = (double)bytes / mean;
    unsigned halvings = 0;
    if (x > 40)
        return 1;
    for (; x > 0.25; halvings++)
        x /= 2;
    double sum = 0, term = 1; /* 1 - exp(-x) = x - x^2/2! + x^3/3! - … */
    for (unsigned n = 1; n <= 10; n++) {
        term *= -x / n;
        sum -= term;
    }
    for (; halvings > 0; halvings--)
        sum = sum * (2 - sum); /* 1 - (1 - q)^2 */
    return sum;
}

bool sample_happens(double probability, uint64_t *random)
{
    return (double)(next_random(random) >> 11) * 0x1p-53 < probability;
}

uint32_t sample_bound(const struct sample_clock *clock, uint32_t budget)
{
    for (unsigned kind = 0; kind < SAMPLE_KINDS; kind++)
        if (clock->left[kind] != 0 && clock->left[kind] - 1 < budget)
            budget = clock->left[kind] - 1;
    return budget;
}

static void begin_window(struct sample_rate *rate, uint64_t now_ms, uint32_t doublings)
{
    atomic_store_relaxed(&rate->window_ms, now_ms);
    atomic_store_relaxed(&rate->samples, 0);
    atomic_store_relaxed(&rate->doublings, doublings);
}

uint32_t sample_rate_doublings(struct sample_rate *rate, uint64_t now_ms, uint64_t most)
{
    uint32_t doublings = atomic_load_relaxed(&rate->doublings);
    uint64_t since_ms = atomic_load_relaxed(&rate->window_ms);
    if (most == 0 || !os_is_aged(since_ms, now_ms, WINDOW_MS))
        return doublings;
    double a_second = (double)atomic_load_relaxed(&rate->samples) * WINDOW_MS / (double)(now_ms - since_ms);
    for (; doublings > 0 && a_second * 2 <= (double)most / 2; a_second *= 2)
        doublings--;
    begin_window(rate, now_ms, doublings);
    return doublings;
}

void sample_rate_count(struct sample_rate *rate, uint64_t now_ms, uint64_t most)
{
    uint32_t doublings = sample_rate_doublings(rate, now_ms, most);
    if (atomic_add_relaxed(&rate->samples, 1) + 1 >= most && most != 0 && doublings < SAMPLE_DOUBLINGS_MOST)
        begin_window(rate, now_ms, doublings + 1);
}
