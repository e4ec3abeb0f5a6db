/* test_thread_cache.c - the two counters and what they tell: exact counts, ticks apart from misses, every reason to drain.
 * Each claim is made in a child, whose one thread's cache is the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "ace_blocks.h"

#include "../../src/os.h"
#include "../../src/shared_pool.h"
#include "../../src/thread.h"
#include "../../src/thread_cache.h"

#define MANY 20000u
static void *blocks[MANY];

static unsigned class_idx;
static struct hk_class_account *a;
static uint64_t allocs, frees; /* of the class, when use() was called */

static void use(size_t size)
{
    class_idx = hk_class_of_size(size);
    a = &hk_account.classes[class_idx];
    cache_settle_all();
    allocs = a->allocs;
    frees = a->frees;
}

static void take(unsigned from, unsigned to, size_t size)
{
    for (unsigned i = from; i < to; i++)
        blocks[i] = hk_test_malloc(size);
}

static void give(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        hk_test_free(blocks[i]);
}

static void work(size_t size, unsigned pairs)
{
    for (unsigned i = 0; i < pairs; i++)
        hk_test_free(hk_test_malloc(size));
}

static uint64_t sum(const uint64_t *counts, unsigned n)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < n; i++)
        all += counts[i];
    return all;
}

/* sum of capacity * size = granted <= limit. A list may be longer than its class's capacity, by what a refill brought. */
static int check_thread(void)
{
    const struct hk_thread *thread = hk_tls.self;
    size_t granted = 0;
    cache_settle_all();
    for (unsigned c = 0; c < HK_CACHED_CLASSES; c++) {
        const struct cache_class *cache = &thread->classes[c];
        unsigned listed = 0;
        for (const void *block = hk_bin_first(&hk_tls.bins[c + 1]); block != NULL; block = hk_link(block))
            listed++;
        CLAIM(listed == cache->length);
        granted += (size_t)cache->capacity * hk_class_size[c];
    }
    CLAIM(granted == thread->granted && granted <= thread->limit);
    return 0;
}

#define CHECK_THREAD()             \
    do {                           \
        int line = check_thread(); \
        if (line != 0)             \
            return line;           \
    } while (0)

/* fit accepts a unit's blocks and, of all that is not a block, at most the odd address that thread_cache.h names. */
static int fit_tells_blocks(void *arg)
{
    (void)arg;
    for (unsigned c = 0; c < HK_CACHED_CLASSES; c++) {
        uint32_t size = hk_class_size[c], fit = hk_tls.bins[c + 1].fit, in_blocks = hk_blocks_per_unit(c) * size;
        for (uint32_t offset = 0; offset < HK_UNIT_SIZE; offset++) {
            bool fits = (uint64_t)(offset * fit) + fit <= UINT32_MAX, block = offset % size == 0 && offset < in_blocks;
            CLAIM(fits == block || offset == in_blocks + 1);
        }
    }
    CLAIM(hk_tls.bins[0].fit == 0);
    return 0;
}

static int exact_counts(void *arg)
{
    (void)arg;
    static const size_t sizes[] = {1, 48, 1000, 9000, 32768};
    for (unsigned s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        use(sizes[s]);
        for (unsigned n = 0; n < 700; n += 1 + n / 3) {
            uint64_t before = a->allocs;
            cache_settle_all();
            take(0, n, sizes[s]);
            cache_settle_all();
            CLAIM(a->allocs == before + n);
            give(0, n);
            CHECK_THREAD();
            CLAIM(a->allocs - allocs == a->frees - frees);
            CLAIM(a->alloc_bytes == a->allocs * hk_class_size[class_idx]);
        }
    }
    return 0;
}

static int ticks_and_misses(void *arg)
{
    (void)arg;
    use(48);
    take(0, 1, 48);
    uint64_t misses = a->misses, ticks = a->ticks;
    CLAIM(misses == 1);
    for (unsigned i = 0; i < 200; i++) /* the list never ends: what the budget's end costs is no miss */
        work(48, 1000);
    cache_settle_all();
    CLAIM(a->misses == misses && a->ticks > ticks);
    CLAIM(a->allocs - allocs == 200001);
    take(1, 3000, 48);
    cache_settle_all();
    CLAIM(a->misses > misses && a->misses < misses + 40);
    CLAIM(sum(a->hits_per_miss, HK_HITS_BUCKETS) == a->misses);
    CLAIM(sum(a->refills, HK_SERVERS) == a->misses);
    CHECK_THREAD();
    return 0;
}

/* No drain of the class but n of the one reason, with `least` blocks or more. */
static int drained_for(enum hk_drain_reason reason, uint64_t n, uint64_t least)
{
    CLAIM(n == 0 ? a->drains[reason] > 0 : a->drains[reason] == n);
    CLAIM(a->drain_blocks[reason] >= least);
    CLAIM(sum(a->drains, HK_DRAIN_REASONS) == a->drains[reason]);
    return 0;
}

#define DRAINED_FOR(reason, n, least)                   \
    do {                                                \
        int line = drained_for((reason), (n), (least)); \
        if (line != 0)                                  \
            return line;                                \
    } while (0)

static int overflow(void *arg)
{
    (void)arg;
    hk_config.decay_ms = 3600000;
    hk_config.cache = 256 * KIB;
    use(64);
    take(0, MANY, 64);
    give(0, MANY);
    DRAINED_FOR(DRAIN_OVERFLOW, 0, MANY / 2);
    CHECK_THREAD();
    CLAIM(cache_length(class_idx) > 0); /* the hot end stays */
    CLAIM(hk_tls.bins[class_idx + 1].head == blocks[MANY - 1]);
    return 0;
}

static int trim(void *arg)
{
    (void)arg;
    hk_config.decay_ms = 3600000;
    use(256);
    take(0, 30, 256);
    give(0, 30);
    uint32_t held = cache_length(class_idx);
    CLAIM(held >= 30);
    heap_trim(0);
    DRAINED_FOR(DRAIN_TRIM, 1, held);
    CLAIM(cache_length(class_idx) == 0 && a->slabs == 0);
    CHECK_THREAD();
    return 0;
}

static int idle(void *arg)
{
    (void)arg;
    hk_config.decay_ms = 5;
    use(1024);
    take(0, 20, 1024);
    give(0, 20);
    uint32_t held = cache_length(class_idx);
    CLAIM(held >= 20 && a->drains[DRAIN_IDLE] == 0);
    for (unsigned i = 0; i < 2000 && a->drains[DRAIN_IDLE] == 0; i++) { /* another class's ticks */
        work(16, 2000);
        usleep(1000);
    }
    DRAINED_FOR(DRAIN_IDLE, 1, held);
    CLAIM(cache_length(class_idx) == 0);
    CLAIM(cache_length(0) > 0); /* which is in use */
    CHECK_THREAD();
    return 0;
}

static void *short_life(void *arg)
{
    void *mine[10];
    for (unsigned i = 0; i < 10; i++)
        mine[i] = hk_test_malloc(512);
    for (unsigned i = 0; i < 10; i++)
        hk_test_free(mine[i]);
    return arg;
}

static int thread_exit(void *arg)
{
    (void)arg;
    pthread_t thread;
    hk_config.decay_ms = 3600000;
    use(512);
    CLAIM(pthread_create(&thread, NULL, short_life, NULL) == 0 && pthread_join(thread, NULL) == 0);
    DRAINED_FOR(DRAIN_EXIT, 1, 10);
    CLAIM(a->allocs - allocs == 10 && a->frees - frees == 10);
    CLAIM(a->slabs == 1 && a->cached_blocks == a->drain_blocks[DRAIN_EXIT]); /* for the next thread */
    shared_pool_decay(os_now_ms(), 0);
    CLAIM(a->slabs == 0 && a->cached_blocks == 0);
    return 0;
}

static pthread_barrier_t holds;

static void *hold(void *arg)
{
    short_life(NULL);
    pthread_barrier_wait(&holds);
    pause();
    return arg;
}

static int adopted(void *arg)
{
    DRAINED_FOR(DRAIN_FORK, 1, 10);
    CLAIM(a->inherited == *(uint64_t *)arg);
    CLAIM(a->allocs == 0 && a->frees == 0);
    return 0;
}

static int fork_with_a_thread(void *arg)
{
    (void)arg;
    pthread_t thread;
    hk_config.decay_ms = 3600000;
    use(512);
    pthread_barrier_init(&holds, NULL, 2);
    CLAIM(pthread_create(&thread, NULL, hold, NULL) == 0);
    pthread_barrier_wait(&holds);
    take(0, 7, 512);
    uint64_t live = 7;
    int line = claims_of(adopted, &live);
    if (line != 0)
        return line;
    cache_settle_all();
    CLAIM(sum(a->drains, HK_DRAIN_REASONS) == 0); /* the parent's thread still has them */
    return 0;
}

/* A thread claims nothing at a class's first miss, and of what all threads share no more than there is. */
static int claims_up_to(void *arg)
{
    hk_config.cache = *(size_t *)arg;
    hk_config.decay_ms = 3600000;
    for (unsigned c = 0; c < HK_CACHED_CLASSES; c++) {
        blocks[c] = hk_test_malloc(hk_class_size[c]);
        CHECK_THREAD();
        CLAIM(hk_tls.self->limit == HK_OWN_LIMIT && hk_tls.self->granted <= HK_OWN_LIMIT);
    }
    size_t most = 0;
    for (unsigned c = 0; c < 2 * HK_CACHED_CLASSES; c++) {
        if (c < HK_CACHED_CLASSES)
            hk_test_free(blocks[c]);
        else
            work(hk_class_size[c - HK_CACHED_CLASSES], 1000);
        CHECK_THREAD();
        most = hk_tls.self->limit > most ? hk_tls.self->limit : most;
        CLAIM(hk_tls.self->limit <= hk_config.cache && hk_tls.self->granted <= hk_tls.self->limit);
        CLAIM(hk_tls.self->limit - HK_OWN_LIMIT <= 8 * MIB);
    }
    CLAIM(most > HK_OWN_LIMIT);
    return 0;
}

static int late_class(void *arg)
{
    (void)arg;
    static const size_t early[] = {64, 256, 1024, 2048, 4096, 8192}, late[] = {48, 600, 5000, 30000};
    hk_config.cache = MIB;
    hk_config.decay_ms = 3600000;
    for (unsigned round = 0; round < 20; round++)
        for (unsigned i = 0; i < 6; i++) {
            take(0, (unsigned)(2 * MIB / early[i] / 2), early[i]);
            give(0, (unsigned)(2 * MIB / early[i] / 2));
        }
    CHECK_THREAD();
    CLAIM(hk_tls.self->granted + 30000 > hk_tls.self->limit);
    for (unsigned i = 0; i < 4; i++) {
        use(late[i]);
        work(late[i], 1000);
        CLAIM(a->misses < 10);
        CHECK_THREAD();
    }
    return 0;
}

static int after_the_end(void *arg)
{
    (void)arg;
    use(100);
    take(0, 50, 100);
    give(0, 20);
    thread_end();
    CLAIM(a->allocs - allocs == 50 && a->frees - frees == 20);
    take(0, 20, 100);
    CLAIM(a->allocs - allocs == 70);
    give(0, 50);
    CLAIM(a->frees - frees == 70);
    shared_pool_decay(os_now_ms(), 0);
    CLAIM(a->slabs == 0);
    CLAIM(hk_tls.bins[class_idx + 1].head == (const void *)hk_chain_end);
    return 0;
}

IN_A_CHILD(fit_tells_the_start_of_a_block_from_all_other_addresses, fit_tells_blocks)
IN_A_CHILD(allocations_and_frees_are_counted_exactly, exact_counts)
IN_A_CHILD(a_budget_that_runs_out_is_a_tick_and_an_empty_list_a_miss, ticks_and_misses)
IN_A_CHILD(a_list_beyond_its_capacity_is_drained_but_for_its_hot_end, overflow)
IN_A_CHILD(a_trim_drains_all_and_says_so, trim)
IN_A_CHILD(a_class_that_is_idle_is_drained_at_a_tick_of_another, idle)
IN_A_CHILD(a_thread_that_ends_is_drained, thread_exit)
IN_A_CHILD(a_child_of_fork_drains_what_other_threads_held, fork_with_a_thread)
IN_A_CHILD(a_class_that_comes_when_all_is_granted_gets_a_share, late_class)
IN_A_CHILD(a_thread_whose_cache_is_gone_is_served_and_counted, after_the_end)

static void a_thread_claims_what_it_may_and_is_granted_no_more(void **state)
{
    (void)state;
    size_t limits[] = {100 * KIB, MIB + 16, 64 * MIB};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(claims_of(claims_up_to, &limits[i]), 0);
}

int main(void)
{
    heap_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fit_tells_the_start_of_a_block_from_all_other_addresses),
        cmocka_unit_test(allocations_and_frees_are_counted_exactly),
        cmocka_unit_test(a_budget_that_runs_out_is_a_tick_and_an_empty_list_a_miss),
        cmocka_unit_test(a_list_beyond_its_capacity_is_drained_but_for_its_hot_end),
        cmocka_unit_test(a_trim_drains_all_and_says_so),
        cmocka_unit_test(a_class_that_is_idle_is_drained_at_a_tick_of_another),
        cmocka_unit_test(a_thread_that_ends_is_drained),
        cmocka_unit_test(a_child_of_fork_drains_what_other_threads_held),
        cmocka_unit_test(a_thread_claims_what_it_may_and_is_granted_no_more),
        cmocka_unit_test(a_class_that_comes_when_all_is_granted_gets_a_share),
        cmocka_unit_test(a_thread_whose_cache_is_gone_is_served_and_counted),
    };
    return cmocka_run_group_tests_name("thread_cache", tests, NULL, NULL);
}
