/* test_os_limits.c - when the kernel refuses: nothing is lost, errno tells, and the limit that was hit is told by its name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../src/os.h"
#include "in_child.h"
#include "remap.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define AN_ERRNO 4711

static uint64_t mapped(void)
{
    return atomic_load_relaxed(&os_account.mapped);
}

/* Without stdio, for where there is no memory to be had. */
static size_t vm_field(const char *key)
{
    char status[8192];
    int fd = open("/proc/self/status", O_RDONLY);
    size_t len = read_all(fd, status, sizeof status - 1);
    close(fd);
    status[len] = '\0';
    const char *field = strstr(status, key);
    return field == NULL ? 0 : strtoul(field + strlen(key), NULL, 10) * KIB;
}

static void limit_to(int resource, size_t bytes)
{
    struct rlimit limit;
    getrlimit(resource, &limit);
    limit.rlim_cur = bytes;
    if (setrlimit(resource, &limit) != 0)
        abort();
}

static int remap_under_a_limit(void *arg)
{
    int resource = *(int *)arg;
    size_t len = 32 * MIB;
    char *ptr = os_map(len, 64 * KIB, OS_HUGE);
    char *fence = os_map(64 * KIB, 64 * KIB, OS_HUGE);
    CLAIM(ptr != NULL && fence != NULL);
    for (size_t i = 0; i < len; i += 512)
        ptr[i] = (char)(i >> 9);
    size_t size = vm_field("VmSize:");
    limit_to(resource, vm_field(resource == RLIMIT_AS ? "VmSize:" : "VmData:") + 16 * MIB);
    uint64_t before = mapped();
    for (int i = 0; i < 100; i++) {
        errno = 0;
        CLAIM(remap(ptr, len, 3 * len, 64 * KIB) == NULL);
        CLAIM(errno == ENOMEM);
    }
    for (size_t i = 0; i < len; i += 512)
        CLAIM(ptr[i] == (char)(i >> 9));
    CLAIM(mapped() == before);
    CLAIM(vm_field("VmSize:") == size); /* no reservation was left behind */
    CLAIM(os_limit_hit(2 * len, ENOMEM) == (resource == RLIMIT_AS ? OS_LIMIT_AS : OS_LIMIT_DATA));
    return 0;
}

static void a_refused_remap_changes_nothing(void **state)
{
    (void)state;
    static int resources[] = {RLIMIT_AS, RLIMIT_DATA};
    assert_int_equal(claims_of(remap_under_a_limit, &resources[0]), 0);
    assert_int_equal(claims_of(remap_under_a_limit, &resources[1]), 0);
}

/* ---- limits ---- */

static int address_space_limit(void *arg)
{
    (void)arg;
    CLAIM(os_address_space_limit() == UINT64_MAX);
    limit_to(RLIMIT_AS, vm_field("VmSize:") + 64 * MIB);
    CLAIM(os_address_space_limit() == vm_field("VmSize:") + 64 * MIB);
    CLAIM(os_map(16 * MIB, 64 * KIB, OS_HUGE) != NULL);
    CLAIM(os_map(64 * MIB, 64 * KIB, OS_HUGE) == NULL);
    CLAIM(errno == ENOMEM);
    errno = AN_ERRNO;
    CLAIM(os_limit_hit(64 * MIB, ENOMEM) == OS_LIMIT_AS);
    CLAIM(errno == AN_ERRNO);
    limit_to(RLIMIT_NOFILE, 0); /* /proc can't be read any more */
    CLAIM(os_limit_hit((size_t)1 << 50, ENOMEM) == OS_LIMIT_AS);
    return 0;
}

static int data_limit(void *arg)
{
    (void)arg;
    limit_to(RLIMIT_DATA, vm_field("VmData:") + 32 * MIB);
    CLAIM(os_reserve(64 * MIB, 2 * MIB) != NULL); /* what is PROT_NONE does not count */
    CLAIM(os_map(64 * MIB, 64 * KIB, OS_HUGE) == NULL);
    CLAIM(os_limit_hit(64 * MIB, ENOMEM) == OS_LIMIT_DATA);
    CLAIM(os_limit_hit(1 * MIB, ENOMEM) == OS_LIMIT_UNKNOWN); /* the 64 MiB above are not data */
    return 0;
}

static int no_limit(void *arg)
{
    (void)arg;
    CLAIM(os_limit_hit(1 * MIB, 0) == OS_LIMIT_NONE);
    CLAIM(os_limit_hit(1 * MIB, EAGAIN) == OS_LIMIT_UNKNOWN);
    CLAIM(os_limit_hit(1 * MIB, ENOMEM) == OS_LIMIT_UNKNOWN);
    CLAIM(os_limit_hit((size_t)1 << 60, ENOMEM) == OS_LIMIT_UNKNOWN);
    CLAIM(os_limit_hit(SIZE_MAX, ENOMEM) == OS_LIMIT_UNKNOWN);
    limit_to(RLIMIT_NOFILE, 0);
    CLAIM(os_limit_hit((size_t)1 << 45, ENOMEM) == OS_LIMIT_UNKNOWN);
    return 0;
}

static unsigned long read_number(const char *path)
{
    FILE *file = fopen(path, "r");
    unsigned long number = 0;
    if (file == NULL || fscanf(file, "%lu", &number) != 1)
        abort();
    fclose(file);
    return number;
}

static int overcommit_limit(void *arg)
{
    (void)arg;
    CLAIM(os_map((size_t)1 << 45, 64 * KIB, OS_HUGE) == NULL);
    CLAIM(os_limit_hit((size_t)1 << 45, ENOMEM) == OS_LIMIT_OVERCOMMIT);
    return 0;
}

static void a_limit_is_told_by_its_name(void **state)
{
    (void)state;
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    assert_int_equal(limit.rlim_cur, RLIM_INFINITY); /* the tests' own condition */
    assert_int_equal(claims_of(address_space_limit, NULL), 0);
    assert_int_equal(claims_of(data_limit, NULL), 0);
    assert_int_equal(claims_of(no_limit, NULL), 0);
}

static void overcommit_is_told_by_its_name(void **state)
{
    (void)state;
    if (read_number("/proc/sys/vm/overcommit_memory") == 1)
        SKIP_BECAUSE("the kernel overcommits without a limit");
    assert_int_equal(claims_of(overcommit_limit, NULL), 0);
}

#ifndef UNDER_TSAN
/* Fill the process's mappings up to max_map_count, around a block that merged with its neighbours. */
static int map_count_limit(void *arg)
{
    (void)arg;
    char *wide = os_map(64 * 64 * KIB, 64 * KIB, OS_HUGE);
    CLAIM(wide != NULL);
    memset(wide, 1, 64 * 64 * KIB);
    size_t len = (read_number("/proc/sys/vm/max_map_count") + 16) * os_page_size;
    char *many = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CLAIM(many != MAP_FAILED);
    for (size_t at = os_page_size; at < len; at += 2 * os_page_size) {
        if (mprotect(many + at, os_page_size, PROT_READ) != 0)
            break;
    }
    CLAIM(errno == ENOMEM);
    while (mmap(NULL, os_page_size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED &&
           mmap(NULL, os_page_size, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        continue;
    uint64_t before = mapped(), failed = atomic_load_relaxed(&os_account.failed_calls);
    CLAIM(!os_unmap(wide + 64 * KIB, 64 * KIB, OS_HUGE));
    CLAIM(errno == ENOMEM);
    CLAIM(mapped() == before); /* the range stays the caller's, without its pages */
    CLAIM(atomic_load_relaxed(&os_account.failed_calls) == failed + 1);
    CLAIM(wide[64 * KIB] == 0 && wide[128 * KIB - 1] == 0 && wide[64 * KIB - 1] == 1 && wide[128 * KIB] == 1);
    CLAIM(os_limit_hit(64 * KIB, ENOMEM) == OS_LIMIT_MAP_COUNT);
    /* At the very limit, an aligned mapping comes or it doesn't, and nothing of it is left behind. */
    for (int i = 0; i < 64; i++) {
        size_t size = vm_field("VmSize:");
        char *ptr = os_map(192 * KIB, 16 * MIB, OS_HUGE);
        CLAIM(ptr != NULL || vm_field("VmSize:") == size);
        CLAIM(((uintptr_t)ptr & (16 * MIB - 1)) == 0);
        if (ptr != NULL && os_unmap(ptr, 192 * KIB, OS_HUGE))
            CLAIM(vm_field("VmSize:") == size);
        CLAIM(remap(wide, 64 * KIB, 128 * KIB, 64 * KIB) == NULL);
        CLAIM(vm_field("VmSize:") - size <= 192 * KIB);
    }
    return 0;
}

static void at_max_map_count_an_unmap_purges_and_keeps(void **state)
{
    (void)state;
    if (read_number("/proc/sys/vm/max_map_count") > 2000000)
        SKIP_BECAUSE("max_map_count is above 2,000,000");
    assert_int_equal(claims_of(map_count_limit, NULL), 0);
}
#endif

/* ---- faults ---- */

#ifdef HK_FAULT_INJECTION
/* Each way through the system's face, with its n-th call refused: false and ENOMEM, or true, and no byte is lost. */
static int every_call_refused_once(void *arg)
{
    size_t in_a_row = *(size_t *)arg;
    for (uint64_t n = 1; n <= 16; n++) {
        size_t size = vm_field("VmSize:"), lost = 0;
        uint64_t before = mapped();
        atomic_store_relaxed(&os_fail_for, in_a_row);
        atomic_store_relaxed(&os_fail_at, n);
        errno = 0;
        char *ptr = os_map(192 * KIB, 16 * MIB, OS_HUGE);
        CLAIM(ptr != NULL || errno == ENOMEM);
        char *moved = ptr == NULL ? NULL : remap(ptr, 192 * KIB, 256 * MIB, 16 * MIB);
        CLAIM(ptr == NULL || moved != NULL || errno == ENOMEM);
        if (ptr != NULL && !os_unmap(moved != NULL ? moved : ptr, moved != NULL ? 256 * MIB : 192 * KIB, OS_HUGE)) {
            CLAIM(errno == ENOMEM);
            lost = moved != NULL ? 256 * MIB : 192 * KIB;
        }
        atomic_store_relaxed(&os_fail_at, 0);
        CLAIM(mapped() == before + lost);
        CLAIM(in_a_row > 1 || vm_field("VmSize:") <= size + lost + 32 * MIB);
        CLAIM(os_map(64 * KIB, 64 * KIB, OS_HUGE) != NULL); /* it is over */
    }
    return 0;
}

static void any_call_may_be_refused(void **state)
{
    (void)state;
    static size_t once = 1, thrice = 3;
    assert_int_equal(claims_of(every_call_refused_once, &once), 0);
    assert_int_equal(claims_of(every_call_refused_once, &thrice), 0);
}

static int count_faults(void *arg)
{
    (void)arg;
    atomic_store_relaxed(&os_fail_at, 3);
    atomic_store_relaxed(&os_fail_for, 2);
    CLAIM(os_map(64 * KIB, 4 * KIB, OS_HUGE) != NULL);
    CLAIM(os_map(64 * KIB, 4 * KIB, OS_HUGE) != NULL);
    CLAIM(os_map(64 * KIB, 4 * KIB, OS_HUGE) == NULL);
    CLAIM(errno == ENOMEM);
    CLAIM(os_reserve(64 * KIB, 4 * KIB) == NULL);
    CLAIM(os_map(64 * KIB, 4 * KIB, OS_HUGE) != NULL);
    CLAIM(os_fail_at == 0);
    return 0;
}

static void the_nth_call_is_the_one_refused(void **state)
{
    (void)state;
    assert_int_equal(claims_of(count_faults, NULL), 0);
}
#endif

int main(void)
{
    os_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_remap_changes_nothing),
        cmocka_unit_test(a_limit_is_told_by_its_name),
        cmocka_unit_test(overcommit_is_told_by_its_name),
#ifndef UNDER_TSAN
        cmocka_unit_test(at_max_map_count_an_unmap_purges_and_keeps),
#endif
#ifdef HK_FAULT_INJECTION
        cmocka_unit_test(any_call_may_be_refused),
        cmocka_unit_test(the_nth_call_is_the_one_refused),
#endif
    };
    return cmocka_run_group_tests_name("os_limits", tests, NULL, NULL);
}
