/* test_lock.c - the futex lock: one holder at a time, nobody forgotten, errno kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../../src/lock.h"
#include "in_child.h"

#define THREADS 32
#define ROUNDS 2000
#define AN_ERRNO 4711

static struct hk_lock lock = HK_LOCK_FREE;
static uint64_t counter; /* lock: */
static uint64_t holders; /* any */

static void *count_up(void *arg)
{
    uintptr_t failures = 0;
    errno = AN_ERRNO;
    for (int i = 0; i < ROUNDS; i++) {
        hk_lock(&lock);
        failures += atomic_add_relaxed(&holders, 1) != 0;
        counter++;
        if (i % 64 == 0)
            sched_yield(); /* others run into the lock */
        atomic_sub_relaxed(&holders, 1);
        hk_unlock(&lock);
        failures += errno != AN_ERRNO;
    }
    (void)arg;
    return (void *)failures;
}

static void many_threads_hold_it_one_at_a_time(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    counter = 0;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failures;
        assert_int_equal(pthread_join(threads[i], &failures), 0);
        assert_null(failures);
    }
    assert_int_equal(counter, (uint64_t)THREADS * ROUNDS);
    assert_false(hk_lock_is_held(&lock));
}

static void *hold_once(void *arg)
{
    hk_lock(arg);
    hk_unlock(arg);
    return NULL;
}

static void everybody_who_sleeps_is_woken(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    hk_lock(&lock);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold_once, &lock), 0);
    while (atomic_load_relaxed(&lock.state) != 2) /* until one at least is about to sleep */
        sched_yield();
    nanosleep(&(struct timespec){0, 10000000}, NULL);
    assert_true(hk_lock_is_held(&lock));
    hk_unlock(&lock);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(lock.state, 0);
}

static void a_try_does_not_wait(void **state)
{
    (void)state;
    assert_true(hk_try_lock(&lock));
    assert_true(hk_lock_is_held(&lock));
    assert_false(hk_try_lock(&lock));
    hk_unlock(&lock);
    assert_false(hk_lock_is_held(&lock));
}

static int take_after_reset(void *arg)
{
    (void)arg;
    CLAIM(hk_lock_is_held(&lock));
    hk_lock_reset(&lock);
    CLAIM(hk_try_lock(&lock));
    hk_unlock(&lock);
    return 0;
}

static void a_child_of_fork_resets_what_another_thread_held(void **state)
{
    (void)state;
    hk_lock(&lock);
    assert_int_equal(claims_of(take_after_reset, NULL), 0);
    lock.state = 2; /* as when others sleep */
    assert_int_equal(claims_of(take_after_reset, NULL), 0);
    hk_lock_reset(&lock);
}

#ifndef UNDER_TSAN
static void *release_later(void *arg)
{
    nanosleep(&(struct timespec){0, 10000000}, NULL);
    hk_unlock(arg);
    return NULL;
}

static int take_and_release(void *arg)
{
    hk_lock(arg);
    hk_unlock(arg);
    return 0;
}

/* The child of vfork shares the memory and the lock with the threads of its parent. */
static void a_vforked_child_waits_for_a_thread_of_its_parent(void **state)
{
    (void)state;
    pthread_t thread;
    hk_lock(&lock);
    assert_int_equal(pthread_create(&thread, NULL, release_later, &lock), 0);
    assert_int_equal(in_sharing_child(take_and_release, &lock), 0);
    pthread_join(thread, NULL);
    assert_false(hk_lock_is_held(&lock));
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_try_does_not_wait),
        cmocka_unit_test(many_threads_hold_it_one_at_a_time),
        cmocka_unit_test(everybody_who_sleeps_is_woken),
        cmocka_unit_test(a_child_of_fork_resets_what_another_thread_held),
#ifndef UNDER_TSAN
        cmocka_unit_test(a_vforked_child_waits_for_a_thread_of_its_parent),
#endif
    };
    return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
