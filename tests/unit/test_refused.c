/* test_refused.c - the whole of malloc while the kernel refuses: its n-th call alone, or all from the n-th on, for n = 1, 2, 3 ... until the
 * scenario ends without having met a refusal. Each time: NULL with ENOMEM, or memory that is whole; afterwards everything is served again,
 * and as much is mapped as where nothing was refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../../src/account.h"
#include "../../src/config.h"
#include "../../src/heap.h"
#include "../../src/os.h"
#include "in_child.h"

void *hk_test_malloc(size_t size);
void *hk_test_calloc(size_t count, size_t size);
void *hk_test_realloc(void *ptr, size_t size);
void *hk_test_aligned_alloc(size_t align, size_t size);
void hk_test_free(void *ptr);

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define MOST_CALLS 5000u /* the scenario makes fewer */
#define SLACK (2 * MIB)  /* of what is mapped: a SuperSlab is kept for the next burst */

struct refusal {
    uint64_t at, in_a_row;
    size_t mapped; /* without metadata, where nothing was refused */
    bool is_done;  /* the scenario ended before the refusal came */
    bool is_guarded;
};

/* The child tells by it; shared with it. */
static struct refusal *shared;

static size_t mapped_but_meta(void)
{
    return (size_t)(atomic_load_relaxed(&os_account.mapped) - atomic_load_relaxed(&os_account.meta));
}

static unsigned seen; /* allocations that were refused */

/* A block, written at both ends; NULL was ENOMEM. */
static bool is_good(unsigned char *block, size_t size)
{
    if (block == NULL) {
        seen++;
        return errno == ENOMEM;
    }
    memset(block, 0x5a, size < 4096 ? size : 4096);
    block[size - 1] = 0x5a;
    return block[0] == 0x5a && block[size - 1] == 0x5a;
}

static int calls_of_each_kind(size_t size)
{
    errno = 0;
    unsigned char *block = hk_test_malloc(size);
    CLAIM(is_good(block, size));
    errno = 0;
    unsigned char *zero = hk_test_calloc(1, size);
    for (size_t i = 0; zero != NULL && i < size; i += 4093)
        CLAIM(zero[i] == 0);
    CLAIM(is_good(zero, size));
    errno = 0;
    unsigned char *aligned = hk_test_aligned_alloc(8192, size);
    CLAIM((uintptr_t)aligned % 8192 == 0 && is_good(aligned, size));
    errno = 0;
    unsigned char *larger = block == NULL ? NULL : hk_test_realloc(block, 3 * size);
    if (larger == NULL && block != NULL) { /* refused: the old one is as it was */
        CLAIM(errno == ENOMEM && block[0] == 0x5a && block[size - 1] == 0x5a);
        seen++;
        larger = block;
    }
    CLAIM(larger == NULL || larger[size - 1] == 0x5a);
    hk_test_free(larger);
    hk_test_free(zero);
    hk_test_free(aligned);
    return 0;
}

static int calls_of_each_size(void)
{
    for (size_t size = 20; size < 6 * MIB; size = size * 7 / 2)
        for (int line = calls_of_each_kind(size); line != 0;)
            return line;
    return 0;
}

static void *in_thread(void *arg)
{
    (void)arg;
    return (void *)(uintptr_t)calls_of_each_size();
}

static int forks(void)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(calls_of_each_size() == 0 ? 0 : 1);
    CLAIM(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    return 0;
}

static int scenario(void)
{
    static unsigned char *held[4000];
    pthread_t thread;
    void *line;
    for (unsigned i = 0; i < 4000; i++) { /* more than a SuperSlab */
        errno = 0;
        held[i] = hk_test_malloc(900);
        CLAIM(is_good(held[i], 900));
    }
    for (int failed = calls_of_each_size(); failed != 0;)
        return failed;
    CLAIM(pthread_create(&thread, NULL, in_thread, NULL) == 0 && pthread_join(thread, &line) == 0 && line == NULL);
    for (int failed = forks(); failed != 0;)
        return failed;
    for (unsigned i = 0; i < 4000; i++) {
        CLAIM(held[i] == NULL || (held[i][0] == 0x5a && held[i][899] == 0x5a));
        hk_test_free(held[i]);
    }
    heap_trim(0);
    return 0;
}

/* Under TSan each child takes seconds. */
#if defined(HK_FAULT_INJECTION) && !defined(UNDER_TSAN)
#define REFUSES 1
#endif

#ifdef REFUSES
static void refuse(uint64_t at, uint64_t in_a_row)
{
    atomic_store_relaxed(&os_fail_for, in_a_row);
    atomic_store_relaxed(&os_fail_at, at);
}

/* The call came: what is left to wait for, or of those to refuse, has changed. */
static bool was_refused(void)
{
    return atomic_load_relaxed(&os_fail_at) <= 1;
}
#else
static void refuse(uint64_t at, uint64_t in_a_row)
{
    (void)at;
    (void)in_a_row;
}

static bool was_refused(void)
{
    return false;
}
#endif

static int refused(void *arg)
{
    struct refusal *refusal = arg;
    if (refusal->is_guarded)
        hk_config.guard = 3;
    refuse(refusal->at, refusal->in_a_row);
    int line = scenario();
    refusal->is_done = !was_refused();
    refuse(0, 1);
    if (line != 0)
        return line;
    seen = 0;
    line = scenario(); /* all is served again */
    if (line != 0)
        return line;
    CLAIM(seen == 0);
    heap_trim(0);
    if (refusal->at == 0)
        refusal->mapped = mapped_but_meta();
    CLAIM(mapped_but_meta() <= refusal->mapped + SLACK);
    uint64_t live = 0;
    for (unsigned c = 0; c < HK_ACCOUNT_CLASSES; c++)
        live += hk_account.classes[c].inherited + hk_account.classes[c].allocs - hk_account.classes[c].frees;
    CLAIM(live == 0);
    return 0;
}

/* What is mapped after the scenario where nothing is refused. */
static size_t mapped_without(bool is_guarded)
{
    *shared = (struct refusal){.is_guarded = is_guarded};
    assert_int_equal(claims_of(refused, shared), 0);
    return shared->mapped;
}

static void nothing_is_left_where_nothing_is_refused(void **state)
{
    (void)state;
    assert_true(mapped_without(false) <= SLACK);
}

#ifdef REFUSES
static void refuse_until_it_succeeds(bool all_that_follow, bool is_guarded)
{
    size_t mapped = mapped_without(is_guarded);
    unsigned n = 0;
    do {
        n++;
        *shared = (struct refusal){n, all_that_follow ? UINT64_MAX : 1, mapped, false, is_guarded};
        int line = claims_of(refused, shared);
        if (line != 0)
            fail_msg("call %u%s refused: line %d", n, all_that_follow ? " and all that follow" : "", line);
        assert_true(n < MOST_CALLS);
    } while (!shared->is_done);
    print_message("# %u calls\n", n - 1);
    assert_true(n > 20); /* that it met some */
}

static void the_nth_call_alone(void **state)
{
    (void)state;
    refuse_until_it_succeeds(false, false);
}

static void the_nth_call_alone_with_guard_pages(void **state)
{
    (void)state;
    refuse_until_it_succeeds(false, true);
}

static void all_calls_from_the_nth_on(void **state)
{
    (void)state;
    refuse_until_it_succeeds(true, false);
}

#endif

int main(void)
{
    heap_init();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_left_where_nothing_is_refused),
#ifdef REFUSES
        cmocka_unit_test(the_nth_call_alone),
        cmocka_unit_test(the_nth_call_alone_with_guard_pages),
        cmocka_unit_test(all_calls_from_the_nth_on),
#endif
    };
    return shared == MAP_FAILED || cmocka_run_group_tests_name("refused", tests, NULL, NULL);
}
