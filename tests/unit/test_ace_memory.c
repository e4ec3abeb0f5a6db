/* test_ace_memory.c - ACE: what it keeps and gives back, with threads, forks and refusals of the kernel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/syscall.h>

#include "ace_blocks.h"

#define MANY 200u

/* A sanitizer's own memory is beyond ours to count. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* Each touch of fresh memory costs ThreadSanitizer more of its own. */
#ifdef UNDER_TSAN
#define FEWER 4u
#else
#define FEWER 1u
#endif

/* ---- what is kept ---- */

static int the_bound_is_kept(void *arg)
{
    (void)arg;
    static void *slots[24];
    uint32_t random = 1;
    size_t most = 0;
    for (unsigned i = 0; i < 3000 / FEWER; i++) {
        unsigned slot = next_random(&random) % 24;
        if (slots[slot] != NULL) {
            CLAIM(free_block(slots[slot]));
            slots[slot] = NULL;
            CLAIM(reclaim_free_bytes() <= reclaim_bound());
        } else {
            size_t size = random_size(&random);
            slots[slot] = ace_alloc(size, HK_ALIGNMENT, false);
            fill(slots[slot], size, i);
        }
        if (i % 500 == 499) {
            size_t rss = resident(), allowed = reclaim_live_bytes() + reclaim_bound();
            if (rss > allowed && rss - allowed > most)
                most = rss - allowed;
        }
    }
    CHECK_ACCOUNT();
    for (unsigned k = 0; k < 24; k++)
        if (slots[k] != NULL)
            CLAIM(free_block(slots[k]));
    if (!SANITIZED)
        CLAIM(most < 8 * MIB); /* the process itself */
    return 0;
}

static int all_decays(void *arg)
{
    (void)arg;
    static void *blocks[40];
    for (unsigned i = 0; i < 40; i++) {
        blocks[i] = ace_alloc((i + 1) * 64 * KIB, HK_ALIGNMENT, false);
        fill(blocks[i], (i + 1) * 64 * KIB, i);
    }
    for (unsigned i = 0; i < 40; i++)
        CLAIM(free_block(blocks[i]));
    uint64_t now = os_now_ms();
    CLAIM(ace_cached_bytes() > 0);
    CLAIM(ace_decay(now, 100000) == 0);
    CLAIM(ace_cached_bytes() > 0);
    for (unsigned i = 1; i <= 3; i++) /* runs age again as units */
        reclaim_decay(now + i * (hk_config.decay_ms + 100));
    CLAIM(ace_cached_bytes() == 0 && superslab_dirty_bytes() == 0 && reclaim_free_bytes() == 0);
    CHECK_ACCOUNT();
    return 0;
}

static int split_and_merged(void *arg)
{
    (void)arg;
    hk_config.retain = GIB;
    char *whole = ace_alloc(12 * MIB, HK_ALIGNMENT, false);
    fill(whole, 12 * MIB, 8);
    CLAIM(free_block(whole));
    uint64_t calls = os_account.map_calls + os_account.unmap_calls;
    char *parts[3];
    for (unsigned i = 0; i < 3; i++) {
        parts[i] = ace_alloc(3 * MIB, HK_ALIGNMENT, i == 1);
        CLAIM(parts[i] == whole + i * 3 * MIB);
        CLAIM(hk_account.capacity.huge_cached == 1 && hk_account.capacity.huge_cached_bytes == (9 - i * 3) * MIB);
        CLAIM(i != 1 || is_zero(parts[i], 3 * MIB));
        fill(parts[i], 3 * MIB, i);
    }
    CLAIM(!free_block(whole + 9 * MIB)); /* known as free */
    for (unsigned i = 0; i < 3; i++)
        CLAIM(is_filled(parts[i], 3 * MIB, i));
    CLAIM(free_block(parts[0]));
    CLAIM(hk_account.capacity.huge_cached == 2);
    CLAIM(free_block(parts[2]));
    CLAIM(hk_account.capacity.huge_cached == 2); /* with what lay behind it */
    CLAIM(free_block(parts[1]));
    CLAIM(hk_account.capacity.huge_cached == 1 && hk_account.capacity.huge_cached_bytes == 12 * MIB);
    CHECK_ACCOUNT();
    CLAIM(ace_alloc(12 * MIB, HK_ALIGNMENT, false) == whole);
    CLAIM(os_account.map_calls + os_account.unmap_calls == calls);
    CHECK_ACCOUNT();
    return 0;
}

static int lengthened(void *arg)
{
    (void)arg;
    void *block = ace_alloc(6 * MIB, HK_ALIGNMENT, false);
    CLAIM(free_block(block));
    size_t mapped = os_account.mapped;
    uint64_t misses = hk_account.classes[HK_CLASS_HUGE].misses;
    block = ace_alloc(9 * MIB, HK_ALIGNMENT, true);
    CLAIM(block != NULL && is_zero(block, 9 * MIB) && heap_find(block).huge != NULL);
    CLAIM(hk_account.capacity.huge_cached == 0 && os_account.mapped == mapped + 3 * MIB);
    CLAIM(hk_account.classes[HK_CLASS_HUGE].misses == misses + 1);
    CHECK_ACCOUNT();
    CLAIM(free_block(block));
    return 0;
}

static int trim_keeps_what_it_is_told_to(void *arg)
{
    (void)arg;
    static void *blocks[30];
    hk_config.retain = GIB;
    for (unsigned i = 0; i < 30; i++)
        blocks[i] = ace_alloc((i % 4 + 1) * 900 * KIB, HK_ALIGNMENT, false);
    for (unsigned i = 0; i < 30; i++)
        CLAIM(free_block(blocks[i]));
    for (size_t keep = ace_cached_bytes(); keep > 0; keep = keep * 2 / 3) {
        ace_large_trim(keep);
        ace_huge_trim(keep);
        CLAIM(ace_large_cached_bytes() <= keep && ace_huge_cached_bytes() <= keep);
        CHECK_ACCOUNT();
    }
    ace_large_trim(0);
    ace_huge_trim(0);
    CLAIM(ace_cached_bytes() == 0 && ace_large_posted == 0);
    return 0;
}

/* ---- threads and forks ---- */

#define THREADS 8u
#define SHARED 64u

struct shared_slot {
    void *block; /* any: who exchanges it out owns it */
};
static struct shared_slot shared[SHARED];

struct churn {
    unsigned rounds;
    uint32_t seed;
    int line;
};

static int churn_body(const struct churn *churn)
{
    uint32_t random = churn->seed;
    for (unsigned i = 0; i < churn->rounds; i++) {
        size_t size = random_size(&random);
        uint64_t *block = hk_test_malloc(size);
        CLAIM(block != NULL);
        block[0] = size;
        fill((char *)block + 512, size - 512, size);
        if (next_random(&random) % 8 == 0) {
            size_t more = size + size / 4;
            block = hk_test_realloc(block, more);
            CLAIM(block != NULL && block[0] == size);
        }
        uint64_t *other = atomic_exchange_acq_rel(&shared[next_random(&random) % SHARED].block, block);
        if (other != NULL) {
            CLAIM(is_filled((char *)other + 512, other[0] - 512, other[0]));
            hk_test_free(other);
        }
        if (i % 64 == 0)
            reclaim_decay(os_now_ms());
    }
    return 0;
}

static void *churn_thread(void *arg)
{
    struct churn *churn = arg;
    churn->line = churn_body(churn);
    return NULL;
}

static int churn_threads(void *arg)
{
    pthread_t threads[THREADS];
    struct churn churns[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        churns[i] = (struct churn){*(unsigned *)arg, 1 + i, 0};
        CLAIM(pthread_create(&threads[i], NULL, churn_thread, &churns[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        CLAIM(pthread_join(threads[i], NULL) == 0);
    for (unsigned i = 0; i < THREADS; i++)
        CLAIM(churns[i].line == 0);
    for (unsigned i = 0; i < SHARED; i++)
        hk_test_free(atomic_exchange_acq_rel(&shared[i].block, NULL));
    CHECK_ACCOUNT();
    CLAIM(hk_account.capacity.huge_blocks == 0);
    CLAIM(reclaim_free_bytes() <= reclaim_bound());
    return 0;
}

static int raw_child_body(void *const *live)
{
    ace_after_fork(true);
    for (unsigned i = 0; i < 2; i++)
        CLAIM(is_filled(live[i], block_bytes(live[i]), 4) && free_block(live[i]));
    for (unsigned i = 0; i < MANY / FEWER; i++) {
        void *large = ace_alloc(100 * KIB, HK_ALIGNMENT, true), *huge = ace_alloc(3 * MIB, HK_ALIGNMENT, true);
        CLAIM(large != NULL && huge != NULL && is_zero(large, 100 * KIB) && is_zero(huge, 3 * MIB));
        fill(large, 100 * KIB, 6);
        fill(huge, 3 * MIB, 6);
        CLAIM(free_block(large) && free_block(huge));
    }
    return 0;
}

/* The child of a raw clone finds every lock held. */
static int raw_clone(void *arg)
{
    (void)arg;
    void *live[2] = {ace_alloc(100 * KIB, HK_ALIGNMENT, false), ace_alloc(3 * MIB, HK_ALIGNMENT, false)};
    for (unsigned i = 0; i < 2; i++) {
        fill(live[i], block_bytes(live[i]), 4);
        CLAIM(free_block(ace_alloc(i == 0 ? 100 * KIB : 3 * MIB, HK_ALIGNMENT, false))); /* one waits */
    }
    ace_before_fork();
    long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
    if (pid == 0)
        _exit(raw_child_body(live) == 0 ? 0 : 1);
    ace_after_fork(false);
    int status;
    CLAIM(pid > 0 && waitpid((pid_t)pid, &status, 0) == pid && status == 0);
    CLAIM(free_block(live[0]) && free_block(live[1]));
    CHECK_ACCOUNT();
    return 0;
}

/* ---- what the kernel refuses ---- */

#ifdef HK_FAULT_INJECTION
static int refusals_body(unsigned at, unsigned in_a_row)
{
    static const size_t sizes[] = {100 * KIB, 3 * MIB, 2 * MIB, 4 * MIB};
    void *blocks[8] = {NULL};
    reclaim_everything(0);
    atomic_store_relaxed(&os_fail_for, in_a_row);
    atomic_store_relaxed(&os_fail_at, at);
    for (unsigned i = 0; i < 8; i++) {
        size_t size = sizes[i % 4];
        blocks[i] = ace_alloc(size, HK_ALIGNMENT, i % 2);
        CLAIM(blocks[i] != NULL || in_a_row > 1);
        if (blocks[i] == NULL)
            continue;
        CLAIM(i % 2 == 0 || is_zero(blocks[i], size));
        fill(blocks[i], size, i);
        char *now = resize(blocks[i], size * 3, false);
        if (now != NULL) {
            blocks[i] = now;
            now = resize(now, size, true);
            CLAIM(now == blocks[i]);
        }
        CLAIM(is_filled(blocks[i], size, i) && block_bytes(blocks[i]) >= size);
    }
    for (unsigned i = 0; i < 8; i++)
        CLAIM(blocks[i] == NULL || (is_filled(blocks[i], sizes[i % 4], i) && free_block(blocks[i])));
    reclaim_decay(os_now_ms() + 10000);
    CHECK_ACCOUNT();
    return 0;
}

static int refusals(void *arg)
{
    (void)arg;
    for (unsigned in_a_row = 1; in_a_row <= 8; in_a_row *= 2)
        for (unsigned at = 1; at <= 60; at += FEWER) {
            int line = refusals_body(at, in_a_row);
            atomic_store_relaxed(&os_fail_at, 0);
            atomic_store_relaxed(&os_fail_for, 1);
            if (line != 0) {
                fprintf(stderr, "refused: call %u, %u in a row\n", at, in_a_row);
                return line;
            }
        }
    reclaim_everything(0);
    CLAIM(reclaim_free_bytes() == 0);
    CLAIM(hk_account.capacity.huge_bytes == 0);
    return 0;
}
#endif

/* ---- the list ---- */

IN_A_CHILD(free_memory_never_exceeds_the_bound, the_bound_is_kept)
IN_A_CHILD(what_waits_decays_to_nothing, all_decays)
IN_A_CHILD(a_mapping_that_is_too_long_is_split_and_merged_again, split_and_merged)
IN_A_CHILD(a_mapping_that_is_too_short_grows, lengthened)
IN_A_CHILD(trim_leaves_what_is_to_be_kept, trim_keeps_what_it_is_told_to)
IN_A_CHILD(the_child_of_a_raw_clone_abandons_what_was_locked, raw_clone)
#ifdef HK_FAULT_INJECTION
IN_A_CHILD(any_refusal_of_the_kernel_leaves_all_in_order, refusals)
#endif

static void threads_may_free_what_others_allocated(void **state)
{
    (void)state;
    const char *full = getenv("HAKMEM_TESTS_FULL");
    unsigned rounds = full != NULL && strcmp(full, "1") == 0 ? 5000 : 300 / FEWER;
    assert_int_equal(claims_of(churn_threads, &rounds), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_memory_never_exceeds_the_bound),
        cmocka_unit_test(what_waits_decays_to_nothing),
        cmocka_unit_test(a_mapping_that_is_too_long_is_split_and_merged_again),
        cmocka_unit_test(a_mapping_that_is_too_short_grows),
        cmocka_unit_test(trim_leaves_what_is_to_be_kept),
        cmocka_unit_test(the_child_of_a_raw_clone_abandons_what_was_locked),
#ifdef HK_FAULT_INJECTION
        cmocka_unit_test(any_refusal_of_the_kernel_leaves_all_in_order),
#endif
        cmocka_unit_test(threads_may_free_what_others_allocated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
