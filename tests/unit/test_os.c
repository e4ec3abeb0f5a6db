/* test_os.c - the system's face: mappings, limits, fork, faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../src/os.h"
#include "in_child.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define AN_ERRNO 4711

static uint64_t mapped(void)
{
    return atomic_load_relaxed(&os_account.mapped);
}

/* The mapping of /proc/self/maps or smaps that holds ptr: its bounds, permissions, and for smaps its VmFlags. */
struct vma {
    uintptr_t from, to;
    char perms[8], flags[512];
};

static bool find_vma(const void *ptr, struct vma *vma)
{
    FILE *smaps = fopen("/proc/self/smaps", "r");
    char line[512];
    bool inside = false;
    memset(vma, 0, sizeof *vma);
    while (smaps != NULL && fgets(line, sizeof line, smaps) != NULL) {
        uintptr_t from, to;
        char perms[8];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, perms) == 3 && strchr(line, '-') < strchr(line, ' ')) {
            inside = from <= (uintptr_t)ptr && (uintptr_t)ptr < to;
            if (inside) {
                vma->from = from;
                vma->to = to;
                memcpy(vma->perms, perms, sizeof perms);
            }
        } else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            snprintf(vma->flags, sizeof vma->flags, "%s", line + 8);
        }
    }
    if (smaps != NULL)
        fclose(smaps);
    return vma->to != 0;
}

static size_t resident_pages(void *ptr, size_t len)
{
    unsigned char in_core[4096];
    size_t pages = len / os_page_size, count = 0;
    assert_true(pages <= sizeof in_core);
    assert_int_equal(mincore(ptr, len, in_core), 0);
    for (size_t i = 0; i < pages; i++)
        count += in_core[i] & 1;
    return count;
}

static void all_bytes_read_zero(const void *ptr, size_t len)
{
    const char *bytes = ptr;
    assert_int_equal(bytes[0], 0);
    assert_memory_equal(bytes, bytes + 1, len - 1);
}

/* ---- mappings ---- */

static void a_mapping_is_zeroed_aligned_and_counted(void **state)
{
    (void)state;
    static const size_t aligns[] = {4 * KIB, 64 * KIB, 2 * MIB, 1024 * MIB};
    for (size_t i = 0; i < sizeof aligns / sizeof aligns[0]; i++) {
        uint64_t before = mapped();
        void *odd = os_map(os_page_size, os_page_size, OS_META); /* puts the next one off any alignment */
        errno = AN_ERRNO;
        char *ptr = os_map(192 * KIB, aligns[i], OS_HUGE);
        assert_int_equal(errno, AN_ERRNO);
        assert_non_null(ptr);
        assert_int_equal((uintptr_t)ptr & (aligns[i] - 1), 0);
        assert_int_equal(mapped(), before + os_page_size + 192 * KIB);
        assert_true(atomic_load_relaxed(&os_account.mapped_peak) >= mapped());
        all_bytes_read_zero(ptr, 192 * KIB);
        memset(ptr, 1, 192 * KIB);
        assert_true(os_unmap(ptr, 192 * KIB, OS_HUGE));
        assert_true(os_unmap(odd, os_page_size, OS_META));
        assert_int_equal(errno, AN_ERRNO);
        assert_int_equal(mapped(), before);
    }
}

static void what_overmapping_added_is_cut_away(void **state)
{
    (void)state;
    for (int i = 0; i < 64; i++) {
        char *ptr = os_map(3 * os_page_size, 16 * MIB, OS_HUGE);
        assert_non_null(ptr);
        assert_true(os_unmap(ptr, 3 * os_page_size, OS_HUGE));
        unsigned char in_core[1];
        assert_int_equal(mincore(ptr, os_page_size, in_core), -1); /* not even mapped */
    }
    struct vma vma;
    char *ptr = os_map(64 * KIB, 64 * MIB, OS_HUGE);
    assert_true(find_vma(ptr, &vma));
    assert_true(vma.to - vma.from < 64 * MIB);
    assert_true(os_unmap(ptr, 64 * KIB, OS_HUGE));
}

static void a_size_beyond_all_is_refused_with_enomem(void **state)
{
    (void)state;
    static const size_t sizes[] = {SIZE_MAX & ~(size_t)0xffff, (size_t)1 << 62, (size_t)1 << 48};
    for (size_t i = 0; i < 3; i++) {
        uint64_t failed = atomic_load_relaxed(&os_account.failed_calls), before = mapped();
        errno = 0;
        assert_null(os_map(sizes[i], 64 * KIB, OS_HUGE));
        assert_int_equal(errno, ENOMEM);
        assert_null(os_reserve(sizes[i], 2 * MIB));
        assert_int_equal(errno, ENOMEM);
        assert_int_equal(atomic_load_relaxed(&os_account.failed_calls), failed + 2);
        assert_int_equal(mapped(), before);
    }
}

static void purged_pages_leave_and_read_zero(void **state)
{
    (void)state;
    uint64_t purged = atomic_load_relaxed(&os_account.purged);
    char *ptr = os_map(1 * MIB, 64 * KIB, OS_HUGE);
    memset(ptr, 0x55, 1 * MIB);
    assert_int_equal(resident_pages(ptr, 1 * MIB), 1 * MIB / os_page_size);
    errno = AN_ERRNO;
    assert_true(os_purge(ptr + 64 * KIB, 512 * KIB));
    assert_int_equal(errno, AN_ERRNO);
    assert_int_equal(atomic_load_relaxed(&os_account.purged), purged + 512 * KIB);
    assert_int_equal(resident_pages(ptr + 64 * KIB, 512 * KIB), 0);
    all_bytes_read_zero(ptr + 64 * KIB, 512 * KIB);
    assert_int_equal(ptr[0], 0x55);
    assert_int_equal(ptr[1 * MIB - 1], 0x55);
    assert_true(os_unmap(ptr, 1 * MIB, OS_HUGE));
}

static void a_purge_that_the_kernel_refuses_is_told(void **state)
{
    (void)state;
    char *ptr = os_map(64 * KIB, 64 * KIB, OS_HUGE);
    if (mlock(ptr, 64 * KIB) != 0)
        SKIP_BECAUSE("may not lock 64 KiB of memory");
    memset(ptr, 1, 64 * KIB);
    assert_false(os_purge(ptr, 64 * KIB));
    assert_int_equal(errno, EINVAL);
    assert_int_equal(ptr[100], 1);
    assert_true(os_unmap(ptr, 64 * KIB, OS_HUGE));
}

/* ---- the reservation ---- */

static int touch(void *ptr)
{
    *(volatile char *)ptr = 1;
    return 0;
}

static bool touching_kills(void *ptr)
{
    static struct child_end end;
    in_child(touch, ptr, &end);
    return end.line == -1 && end.status != 0;
}

static void a_reservation_is_committed_and_decommitted_in_parts(void **state)
{
    (void)state;
    uint64_t before = mapped(), reserved = atomic_load_relaxed(&os_account.reserved);
    struct vma vma;
    errno = AN_ERRNO;
    char *base = os_reserve(64 * MIB, 2 * MIB);
    assert_non_null(base);
    assert_int_equal((uintptr_t)base % (2 * MIB), 0);
    assert_int_equal(atomic_load_relaxed(&os_account.reserved), reserved + 64 * MIB);
    assert_true(find_vma(base, &vma));
    assert_string_equal(vma.perms, "---p");
    assert_non_null(strstr(vma.flags, " dd")); /* not in a core dump */
    assert_true(touching_kills(base + 2 * MIB));

    for (size_t i = 1; i < 8; i++)
        assert_true(os_commit(base + i * 2 * MIB, 2 * MIB));
    assert_int_equal(mapped(), before + 14 * MIB);
    assert_int_equal(atomic_load_relaxed(&os_account.reserved), reserved + 50 * MIB);
    memset(base + 2 * MIB, 0x77, 14 * MIB);
    assert_true(find_vma(base + 2 * MIB, &vma));
    assert_int_equal(vma.from, (uintptr_t)base + 2 * MIB); /* one mapping for all that is committed */
    assert_int_equal(vma.to, (uintptr_t)base + 16 * MIB);
    assert_string_equal(vma.perms, "rw-p");
    assert_null(strstr(vma.flags, " dd"));

    assert_true(os_decommit(base + 6 * MIB, 4 * MIB));
    assert_int_equal(mapped(), before + 10 * MIB);
    assert_true(touching_kills(base + 6 * MIB));
    assert_int_equal(base[6 * MIB - 1], 0x77);
    assert_int_equal(base[10 * MIB], 0x77);
    assert_true(os_commit(base + 6 * MIB, 4 * MIB));
    all_bytes_read_zero(base + 6 * MIB, 4 * MIB);

    assert_true(os_decommit(base + 2 * MIB, 14 * MIB));
    assert_true(find_vma(base, &vma));
    assert_true(vma.from <= (uintptr_t)base && vma.to >= (uintptr_t)base + 64 * MIB); /* whole again */
    assert_non_null(strstr(vma.flags, " dd"));
    assert_true(os_unreserve(base + 32 * MIB, 32 * MIB));
    assert_true(os_unreserve(base, 32 * MIB));
    assert_false(find_vma(base, &vma) && strcmp(vma.perms, "---p") == 0);
    assert_int_equal(mapped(), before);
    assert_int_equal(atomic_load_relaxed(&os_account.reserved), reserved);
    assert_int_equal(errno, AN_ERRNO);
}

/* ---- remap ---- */

static void fill(char *ptr, size_t len)
{
    for (size_t i = 0; i < len; i += 512)
        *(size_t *)(ptr + i) = i ^ 0xabcdef;
}

static bool is_filled(const char *ptr, size_t len)
{
    for (size_t i = 0; i < len; i += 512) {
        if (*(const size_t *)(ptr + i) != (i ^ 0xabcdef))
            return false;
    }
    return true;
}

static void a_remap_keeps_content_alignment_and_the_count(void **state)
{
    (void)state;
    uint64_t before = mapped();
    size_t len = 192 * KIB;
    char *ptr = os_map(len, 64 * KIB, OS_HUGE);
    errno = AN_ERRNO;
    fill(ptr, len);
    while (len < 64 * MIB) {
        size_t more = len + len / 2 / (64 * KIB) * (64 * KIB) + 64 * KIB;
        ptr = os_remap(ptr, len, more, 64 * KIB);
        assert_non_null(ptr);
        assert_int_equal((uintptr_t)ptr % (64 * KIB), 0);
        assert_true(is_filled(ptr, len));
        all_bytes_read_zero(ptr + len, more - len);
        fill(ptr, more);
        len = more;
        assert_int_equal(mapped(), before + len);
    }
    char *less = os_remap(ptr, len, 64 * KIB, 64 * KIB);
    assert_ptr_equal(less, ptr); /* what shrinks stays */
    assert_int_equal(mapped(), before + 64 * KIB);
    assert_true(is_filled(ptr, 64 * KIB));
    assert_true(os_unmap(ptr, 64 * KIB, OS_HUGE));
    assert_int_equal(mapped(), before);
    assert_int_equal(errno, AN_ERRNO);
}

static void a_remap_that_is_hemmed_in_moves_to_an_aligned_place(void **state)
{
    (void)state;
    char *room = os_reserve(16 * MIB, 2 * MIB);
    char *ptr = room + 4 * MIB;
    assert_true(os_commit(ptr, 1 * MIB)); /* PROT_NONE on both sides */
    fill(ptr, 1 * MIB);
    char *moved = os_remap(ptr, 1 * MIB, 3 * MIB, 2 * MIB);
    assert_non_null(moved);
    assert_ptr_not_equal(moved, ptr);
    assert_int_equal((uintptr_t)moved % (2 * MIB), 0);
    assert_true(is_filled(moved, 1 * MIB));
    all_bytes_read_zero(moved + 1 * MIB, 2 * MIB);
    assert_true(os_unmap(moved, 3 * MIB, OS_HUGE));
}

static size_t vm_field(const char *key)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    size_t kilobytes = 0;
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0)
            kilobytes = strtoul(line + strlen(key), NULL, 10);
    }
    if (status != NULL)
        fclose(status);
    return kilobytes * KIB;
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
    fill(ptr, len);
    size_t size = vm_field("VmSize:");
    limit_to(resource, vm_field(resource == RLIMIT_AS ? "VmSize:" : "VmData:") + 16 * MIB);
    uint64_t before = mapped();
    for (int i = 0; i < 100; i++) {
        errno = 0;
        CLAIM(os_remap(ptr, len, 3 * len, 64 * KIB) == NULL);
        CLAIM(errno == ENOMEM);
    }
    CLAIM(is_filled(ptr, len));
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

/* Threads that map, fill, grow and unmap at once: nobody's pages are taken by another's failed or finished remap. */
static void *remap_and_check(void *arg)
{
    uintptr_t failures = 0;
    for (size_t round = 0; round < 300; round++) {
        size_t len = (1 + round % 7) * 64 * KIB;
        char *ptr = os_map(len, 64 * KIB, OS_HUGE);
        if (ptr == NULL) {
            failures++;
            continue;
        }
        memset(ptr, (int)(uintptr_t)arg, len);
        char *grown = os_remap(ptr, len, len * 3, 64 * KIB);
        if (grown != NULL) {
            ptr = grown;
            for (size_t i = len; i < 3 * len; i += os_page_size)
                failures += ptr[i] != 0;
        }
        for (size_t i = 0; i < len; i += os_page_size)
            failures += ptr[i] != (char)(uintptr_t)arg;
        os_unmap(ptr, grown != NULL ? 3 * len : len, OS_HUGE);
    }
    return (void *)failures;
}

static void remaps_of_many_threads_do_not_meet(void **state)
{
    (void)state;
    pthread_t threads[4];
    uint64_t before = mapped();
    for (uintptr_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, remap_and_check, (void *)(i + 1)), 0);
    for (int i = 0; i < 4; i++) {
        void *failures;
        pthread_join(threads[i], &failures);
        assert_null(failures);
    }
    assert_int_equal(mapped(), before);
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
        CLAIM(os_remap(wide, 64 * KIB, 128 * KIB, 64 * KIB) == NULL);
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

/* ---- fork ---- */

static int reads_zero(void *page)
{
    CLAIM(*(volatile uint32_t *)page == 0);
    *(volatile uint32_t *)page = 7;
    return 0;
}

static void the_page_is_wiped_in_every_kind_of_child_but_a_vfork(void **state)
{
    (void)state;
    volatile uint32_t *page = os_wipe_on_fork_page();
    assert_non_null(page);
    assert_int_equal(*page, 1);
    *page = 0x12345678;
    assert_int_equal(claims_of(reads_zero, (void *)page), 0);
    long raw = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (raw == 0)
        syscall(SYS_exit_group, *page == 0 ? 0 : 1);
    int status = -1;
    assert_int_equal(waitpid((pid_t)raw, &status, 0), raw);
    assert_int_equal(status, 0);
    pid_t sharing = vfork();
    if (sharing == 0)
        _exit(*page == 0x12345678 ? 0 : 1);
    assert_int_equal(waitpid(sharing, &status, 0), sharing);
    assert_int_equal(status, 0);
    assert_int_equal(*page, 0x12345678);
}

/* ---- time and chance ---- */

static int random_without_getrandom(void *arg)
{
    (void)arg;
    uint64_t drawn[64];
    for (int i = 0; i < 64; i++) {
        drawn[i] = os_random64();
        for (int k = 0; k < i; k++)
            CLAIM(drawn[k] != drawn[i]);
        CLAIM(drawn[i] != 0);
    }
    return 0;
}

static void no_two_random_numbers_are_alike(void **state)
{
    (void)state;
    assert_int_equal(random_without_getrandom(NULL), 0);
}

static void the_clocks_do_not_go_back(void **state)
{
    (void)state;
    uint64_t ms = os_now_ms(), ns = os_now_ns();
    for (int i = 0; i < 10000; i++) {
        uint64_t next_ms = os_now_ms(), next_ns = os_now_ns();
        assert_true(next_ms >= ms && next_ns >= ns);
        assert_true(next_ms <= next_ns / 1000000);
        ms = next_ms;
        ns = next_ns;
    }
}

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
        char *moved = ptr == NULL ? NULL : os_remap(ptr, 192 * KIB, 256 * MIB, 16 * MIB);
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
    CLAIM(os_map(64 * KIB, 4 * KIB, OS_META) != NULL);
    CLAIM(os_map(64 * KIB, 4 * KIB, OS_META) != NULL);
    CLAIM(os_map(64 * KIB, 4 * KIB, OS_META) == NULL);
    CLAIM(errno == ENOMEM);
    CLAIM(os_reserve(64 * KIB, 4 * KIB) == NULL);
    CLAIM(os_map(64 * KIB, 4 * KIB, OS_META) != NULL);
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
        cmocka_unit_test(a_mapping_is_zeroed_aligned_and_counted),
        cmocka_unit_test(what_overmapping_added_is_cut_away),
        cmocka_unit_test(a_size_beyond_all_is_refused_with_enomem),
        cmocka_unit_test(purged_pages_leave_and_read_zero),
        cmocka_unit_test(a_purge_that_the_kernel_refuses_is_told),
        cmocka_unit_test(a_reservation_is_committed_and_decommitted_in_parts),
        cmocka_unit_test(a_remap_keeps_content_alignment_and_the_count),
        cmocka_unit_test(a_remap_that_is_hemmed_in_moves_to_an_aligned_place),
        cmocka_unit_test(a_refused_remap_changes_nothing),
        cmocka_unit_test(remaps_of_many_threads_do_not_meet),
        cmocka_unit_test(a_limit_is_told_by_its_name),
        cmocka_unit_test(overcommit_is_told_by_its_name),
        cmocka_unit_test(at_max_map_count_an_unmap_purges_and_keeps),
        cmocka_unit_test(the_page_is_wiped_in_every_kind_of_child_but_a_vfork),
        cmocka_unit_test(no_two_random_numbers_are_alike),
        cmocka_unit_test(the_clocks_do_not_go_back),
#ifdef HK_FAULT_INJECTION
        cmocka_unit_test(any_call_may_be_refused),
        cmocka_unit_test(the_nth_call_is_the_one_refused),
#endif
    };
    return cmocka_run_group_tests_name("os", tests, NULL, NULL);
}
