/* test_meta.c - memory for hakmem's own tables: zeroed, apart, used again, and the same after fork. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../src/meta.h"
#include "../../src/os.h"
#include "in_child.h"
#include "map_lines.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define AN_ERRNO 4711

static bool is_zero(const void *ptr, size_t size)
{
    const char *bytes = ptr;
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static const size_t sizes[] = {0, 1, 63, 64, 65, 100, 4096, 20 * KIB + 8, 64 * KIB};
#define SIZES (sizeof sizes / sizeof sizes[0])

static void a_piece_is_zeroed_aligned_and_apart_from_the_others(void **state)
{
    (void)state;
    char *pieces[SIZES];
    for (int round = 0; round < 3; round++) { /* later rounds get what was freed */
        size_t used = meta_used();
        errno = AN_ERRNO;
        for (size_t i = 0; i < SIZES; i++) {
            pieces[i] = meta_alloc(sizes[i]);
            assert_non_null(pieces[i]);
            assert_int_equal((uintptr_t)pieces[i] % HK_CACHE_LINE, 0);
            assert_true(is_zero(pieces[i], sizes[i]));
            memset(pieces[i], (int)i + 1, sizes[i]);
        }
        assert_true(meta_used() >= used + 88 * KIB);
        assert_true(meta_used() <= meta_mapped());
        for (size_t i = 0; i < SIZES; i++) {
            for (size_t k = 0; k < sizes[i]; k++)
                assert_true(pieces[i][k] == (char)(i + 1));
            meta_free(pieces[i], sizes[i]);
        }
        assert_int_equal(errno, AN_ERRNO);
        assert_int_equal(meta_used(), used);
    }
}

/* However much there is of it: in front of each mapping lies a page that can't be touched, and there are few mappings. */
static void no_write_from_below_reaches_it(void **state)
{
    (void)state;
    size_t before = map_lines();
    for (unsigned i = 0; i < 2000; i++) {
        char *piece = meta_alloc(20 * KIB);
        assert_non_null(piece);
        piece[0] = 1;
        if (i % 50 == 0)
            assert_true(is_fronted(piece));
    }
#if defined(__SANITIZE_THREAD__) /* maps memory of its own beside ours */
    (void)before;
#else
    assert_true(map_lines() - before < 2 * 40);
#endif
}

static void what_is_freed_serves_the_next_of_its_size(void **state)
{
    (void)state;
    void *a[8], *b[8];
    for (int i = 0; i < 8; i++) {
        a[i] = meta_alloc(320);
        b[i] = meta_alloc(21 * KIB);
    }
    size_t mapped = meta_mapped();
    for (int i = 0; i < 8; i++) {
        meta_free(a[i], 320);
        meta_free(b[i], 21 * KIB);
    }
    for (int round = 0; round < 8; round++) {
        void *again = meta_alloc(310); /* the same number of cache lines */
        bool known = false;
        for (int i = 0; i < 8; i++)
            known |= again == a[i];
        assert_true(known);
        again = meta_alloc(21 * KIB);
        known = false;
        for (int i = 0; i < 8; i++)
            known |= again == b[i];
        assert_true(known);
        assert_true(is_zero(again, 21 * KIB));
    }
    assert_int_equal(meta_mapped(), mapped);
}

static void the_pages_of_what_is_freed_are_given_back(void **state)
{
    (void)state;
    enum { PIECES = 64 };
    static char *pieces[PIECES];
    uint64_t purged = atomic_load_relaxed(&os_account.purged);
    for (int i = 0; i < PIECES; i++) {
        pieces[i] = meta_alloc(50 * KIB);
        memset(pieces[i], 1, 50 * KIB);
    }
    for (int i = 0; i < PIECES; i++)
        meta_free(pieces[i], 50 * KIB);
    assert_true(atomic_load_relaxed(&os_account.purged) - purged >= PIECES * 40 * KIB);
}

/* Each chunk is in the list, and all together are what is mapped. */
static void the_chunks_are_listed(void **state)
{
    (void)state;
    size_t mapped = 0;
    bool has_piece = false;
    const char *piece = meta_alloc(META_SIZE_MAX);
    for (const struct meta_chunk *chunk = meta_chunks; chunk != NULL; chunk = chunk->next) {
        has_piece |= piece > (const char *)chunk && piece + META_SIZE_MAX <= (const char *)chunk + chunk->length;
        mapped += chunk->length;
    }
    assert_true(has_piece);
    assert_int_equal(mapped, meta_mapped());
}

static void nothing_is_freed_for_null(void **state)
{
    (void)state;
    size_t used = meta_used();
    meta_free(NULL, 64);
    assert_int_equal(meta_used(), used);
}

static int without_memory(void *arg)
{
    (void)arg;
    struct rlimit none = {0, RLIM_INFINITY};
    CLAIM(setrlimit(RLIMIT_AS, &none) == 0);
    size_t used = meta_used();
    errno = 0;
    while (meta_alloc(60 * KIB) != NULL) /* what is left of the chunk */
        used += 60 * KIB;
    CLAIM(errno == ENOMEM);
    CLAIM(meta_used() == used);
    return 0;
}

static void a_refusal_is_null_with_enomem(void **state)
{
    (void)state;
    errno = 0;
    assert_null(meta_alloc(SIZE_MAX));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(meta_alloc(META_SIZE_MAX + 1));
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(claims_of(without_memory, NULL), 0);
}

/* `rounds` of freeing and allocating among the first `count` sizes; returns how often something was wrong. */
static uintptr_t churn(char mine, unsigned count, unsigned rounds)
{
    static const size_t churned[] = {64, 128, 1000, 4096, 20 * KIB, 60 * KIB};
    char *held[6] = {NULL};
    uintptr_t failures = 0;
    for (unsigned round = 0; round < rounds; round++) {
        unsigned i = (round * 7 + (unsigned)mine) % count;
        if (held[i] != NULL) {
            failures += held[i][0] != mine || held[i][churned[i] - 1] != mine;
            meta_free(held[i], churned[i]);
        }
        held[i] = meta_alloc(churned[i]);
        failures += held[i] == NULL || !is_zero(held[i], churned[i]);
        memset(held[i], mine, churned[i]);
    }
    for (unsigned i = 0; i < count; i++)
        meta_free(held[i], churned[i]);
    return failures;
}

static void *churn_alone(void *arg)
{
    return (void *)(churn((char)(uintptr_t)arg, 6, 150) + churn((char)(uintptr_t)arg, 3, 50000));
}

static void many_threads_share_it(void **state)
{
    (void)state;
    pthread_t threads[8];
    for (uintptr_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn_alone, (void *)(i + 1)), 0);
    for (int i = 0; i < 8; i++) {
        void *failures;
        assert_int_equal(pthread_join(threads[i], &failures), 0);
        assert_null(failures);
    }
}

/* By a raw clone: fork() would have the library's own handlers take the lock a second time. */
static void parent_and_child_go_on_when_the_lock_was_held(void **state)
{
    (void)state;
    int status = -1;
    meta_before_fork();
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        meta_after_fork(true);
        syscall(SYS_exit_group, churn(9, 6, 150) == 0 ? 0 : 1);
    }
    meta_after_fork(false);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(churn(5, 6, 150), 0);
}

#ifndef UNDER_TSAN
static void *churn_until_told(void *arg)
{
    uintptr_t failures = 0;
    while (atomic_load_relaxed((int *)arg) == 0)
        failures += churn(3, 6, 150);
    return (void *)failures;
}

/* Raw clones at any moment: what another thread was doing to the lists is whole or lost, and never twice in use. */
static void a_raw_clone_finds_the_lists_whole(void **state)
{
    (void)state;
    pthread_t threads[2];
    int stop = 0;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn_until_told, &stop), 0);
    for (int round = 0; round < 40; round++) {
        int status = -1;
        pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (pid == 0) {
            meta_after_fork(true);
            syscall(SYS_exit_group, churn(9, 6, 150) == 0 ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
    atomic_store_relaxed(&stop, 1);
    for (int i = 0; i < 2; i++) {
        void *failures;
        assert_int_equal(pthread_join(threads[i], &failures), 0);
        assert_null(failures);
    }
}
#endif

int main(void)
{
    os_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_piece_is_zeroed_aligned_and_apart_from_the_others),
        cmocka_unit_test(no_write_from_below_reaches_it),
        cmocka_unit_test(what_is_freed_serves_the_next_of_its_size),
        cmocka_unit_test(the_pages_of_what_is_freed_are_given_back),
        cmocka_unit_test(the_chunks_are_listed),
        cmocka_unit_test(nothing_is_freed_for_null),
        cmocka_unit_test(a_refusal_is_null_with_enomem),
        cmocka_unit_test(many_threads_share_it),
        cmocka_unit_test(parent_and_child_go_on_when_the_lock_was_held),
#ifndef UNDER_TSAN
        cmocka_unit_test(a_raw_clone_finds_the_lists_whole),
#endif
    };
    return cmocka_run_group_tests_name("meta", tests, NULL, NULL);
}
