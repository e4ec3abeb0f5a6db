/* test_os_move.c - the system's face: pages that leave a part of a SuperSlab for a mapping of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "../../src/os.h"
#include "in_child.h"
#include "map_lines.h"
#include "remap.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define UNIT (64 * KIB)
#define AN_ERRNO 4711

static uint64_t mapped(void)
{
    return atomic_load_relaxed(&os_account.mapped);
}

/* Every 512 bytes hold their distance from ptr, and the seed. */
static void fill(char *ptr, size_t from, size_t to, size_t seed)
{
    for (size_t at = from; at < to; at += 512)
        *(size_t *)(void *)(ptr + at) = at ^ seed;
}

static bool is_filled(const char *ptr, size_t from, size_t to, size_t seed)
{
    for (size_t at = from; at < to; at += 512)
        if (*(const size_t *)(const void *)(ptr + at) != (at ^ seed))
            return false;
    return true;
}

static bool is_zero(const char *ptr, size_t len)
{
    return ptr[0] == 0 && memcmp(ptr, ptr + 1, len - 1) == 0;
}

static char *committed(size_t len)
{
    char *part = os_reserve(2 * len, 2 * MIB);
    if (part == NULL || !os_commit(part, len, OS_SUPERSLAB))
        abort();
    return part;
}

static void *move_pages(void *ptr, size_t len, size_t new_len, size_t align)
{
    void *target = os_target(new_len, align);
    return target != NULL && os_move_pages(ptr, len, target, new_len) ? target : NULL;
}

#ifndef UNDER_TSAN /* which forbids growth in place, so that every move ends as a copy back */
static int moves_and_leaves_zeros(void *arg)
{
    (void)arg;
    char *part = committed(8 * MIB), *run = part + 3 * MIB + UNIT;
    fill(part, 0, 8 * MIB, 0);
    struct os_account before = os_account;
    errno = AN_ERRNO;
    CLAIM(os_can_move_pages(run, MIB));
    char *moved = move_pages(run, MIB, 3 * MIB, 4 * MIB);
    CLAIM(errno == AN_ERRNO && moved != NULL && (uintptr_t)moved % (4 * MIB) == 0);
    CLAIM(is_filled(moved - (run - part), (size_t)(run - part), (size_t)(run - part) + MIB, 0));
    CLAIM(is_zero(moved + MIB, 2 * MIB) && is_zero(run, MIB));
    CLAIM(is_filled(part, 0, 3 * MIB + UNIT, 0) && is_filled(part, 4 * MIB + UNIT, 8 * MIB, 0));
    CLAIM(os_account.mapped == before.mapped + 3 * MIB && os_account.map_calls == before.map_calls + 1);
    CLAIM(os_account.purged == before.purged + MIB && os_account.purge_calls == before.purge_calls + 1);
    CLAIM(os_account.failed_calls == before.failed_calls && os_account.unmap_calls == before.unmap_calls);
    fill(run, 0, MIB, 1); /* what was left is memory as before */
    fill(moved, 0, 3 * MIB, 2);
    char *longer = remap(moved, 3 * MIB, 40 * MIB, UNIT);
    CLAIM(longer != NULL && is_filled(longer, 0, 3 * MIB, 2) && is_filled(run, 0, MIB, 1));
    CLAIM(os_unmap(longer, 40 * MIB, OS_HUGE) && os_account.mapped == before.mapped);
    return 0;
}

static int mappings(void *arg)
{
    (void)arg;
    char *part = committed(8 * MIB), *run = part + MIB, *moved[50];
    fill(part, 0, 8 * MIB, 0);
    size_t before = map_lines();
    for (unsigned i = 0; i < 50; i++) {
        fill(run, 0, MIB, i);
        moved[i] = move_pages(run, MIB, MIB + UNIT, UNIT);
        CLAIM(moved[i] != NULL);
    }
    CLAIM(map_lines() <= before + 50); /* one each: the part that they left is still in one piece */
    for (unsigned i = 0; i < 50; i++)
        CLAIM(is_filled(moved[i], 0, MIB, i) && os_unmap(moved[i], MIB + UNIT, OS_HUGE));
    CLAIM(map_lines() <= before);
    return 0;
}
#endif

static int locked(void *arg)
{
    (void)arg;
    char *part = committed(2 * MIB);
    fill(part, 0, 2 * MIB, 0);
    CLAIM(syscall(SYS_mlock, part + MIB, 4 * KIB) == 0); /* the sanitizers' mlock() does nothing */
    errno = AN_ERRNO;
    CLAIM(!os_can_move_pages(part + MIB, UNIT) && !os_can_move_pages(part + MIB - UNIT, 2 * UNIT));
    CLAIM(errno == AN_ERRNO);
    CLAIM(syscall(SYS_munlock, part + MIB, 4 * KIB) == 0 && os_can_move_pages(part + MIB, UNIT));
    return 0;
}

#ifdef HK_FAULT_INJECTION
/* Each call of a move refused, alone or with those behind it: what was there is at the one place or at the other. */
static int refused(void *arg)
{
    size_t in_a_row = *(size_t *)arg;
    char *part = committed(2 * MIB);
    unsigned moves = 0;
    for (uint64_t n = 1; n <= 8; n++) {
        fill(part, 0, 2 * MIB, n);
        struct os_account before = os_account;
        void *target = os_target(2 * MIB, UNIT);
        CLAIM(target != NULL);
        atomic_store_relaxed(&os_fail_for, in_a_row);
        atomic_store_relaxed(&os_fail_at, n);
        errno = AN_ERRNO;
        bool moved = os_move_pages(part, MIB, target, 2 * MIB);
        int error = errno;
        atomic_store_relaxed(&os_fail_at, 0);
        atomic_store_relaxed(&os_fail_for, 1);
        CLAIM(error == (moved ? AN_ERRNO : ENOMEM));
        CLAIM(is_filled(moved ? target : part, 0, MIB, n) && is_filled(part, MIB, 2 * MIB, n));
        CLAIM(os_account.mapped == before.mapped + (moved ? 2 * MIB : 0));
        CLAIM(os_account.purged == before.purged + (moved ? MIB : 0));
        CLAIM(os_account.failed_calls == before.failed_calls + !moved);
        moves += moved;
    }
    CLAIM(moves < 8);
#ifndef UNDER_TSAN
    CLAIM(moves >= 4);
#endif
    return 0;
}

static void a_refused_move_leaves_the_content(void **state)
{
    (void)state;
    static size_t once = 1, twice = 2, often = 8;
    assert_int_equal(claims_of(refused, &once), 0);
    assert_int_equal(claims_of(refused, &twice), 0);
    assert_int_equal(claims_of(refused, &often), 0);
}
#endif

/* Threads that map, move and unmap at once take each other's targets: no content is lost. */
static void *move_and_check(void *arg)
{
    uintptr_t failures = 0, seed = (uintptr_t)arg;
    char *part = committed(2 * MIB);
    for (size_t round = 0; round < 300; round++) {
        size_t len = (1 + round % 7) * UNIT;
        fill(part, 0, len + UNIT, seed + round);
        char *moved = move_pages(part, len, 2 * len, UNIT);
        failures += !is_filled(moved != NULL ? moved : part, 0, len, seed + round);
        failures += !is_filled(part, len, len + UNIT, seed + round);
        if (moved != NULL)
            failures += !is_zero(part, len) || !is_zero(moved + len, len) || !os_unmap(moved, 2 * len, OS_HUGE);
    }
    return (void *)failures;
}

static int many_threads(void *arg)
{
    (void)arg;
    pthread_t threads[4];
    uint64_t before = mapped();
    for (uintptr_t i = 0; i < 4; i++)
        CLAIM(pthread_create(&threads[i], NULL, move_and_check, (void *)((i + 1) << 40)) == 0);
    for (int i = 0; i < 4; i++) {
        void *failures;
        pthread_join(threads[i], &failures);
        CLAIM(failures == NULL);
    }
    CLAIM(mapped() == before + 4 * 2 * MIB);
    return 0;
}

#ifndef UNDER_TSAN
static void pages_move_and_leave_zeros(void **state)
{
    (void)state;
    assert_int_equal(claims_of(moves_and_leaves_zeros, NULL), 0);
}

static void a_move_costs_one_mapping_until_it_is_unmapped(void **state)
{
    (void)state;
    assert_int_equal(claims_of(mappings, NULL), 0);
}
#endif

static void what_is_locked_stays(void **state)
{
    (void)state;
    assert_int_equal(claims_of(locked, NULL), 0);
}

static void moves_of_many_threads_do_not_meet(void **state)
{
    (void)state;
    assert_int_equal(claims_of(many_threads, NULL), 0);
}

int main(void)
{
    os_init();
    const struct CMUnitTest tests[] = {
#ifndef UNDER_TSAN
        cmocka_unit_test(pages_move_and_leave_zeros),
        cmocka_unit_test(a_move_costs_one_mapping_until_it_is_unmapped),
#endif
        cmocka_unit_test(what_is_locked_stays),
#ifdef HK_FAULT_INJECTION
        cmocka_unit_test(a_refused_move_leaves_the_content),
#endif
        cmocka_unit_test(moves_of_many_threads_do_not_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
