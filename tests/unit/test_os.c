/* test_os.c - the system's face: mappings, moves, fork, time and chance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
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
    if (syscall(SYS_mlock, ptr, 64 * KIB) != 0) /* sanitizers make nothing of mlock */
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
        assert_true(os_commit(base + i * 2 * MIB, 2 * MIB, OS_SUPERSLAB));
    assert_int_equal(mapped(), before + 14 * MIB);
    assert_int_equal(atomic_load_relaxed(&os_account.reserved), reserved + 50 * MIB);
    memset(base + 2 * MIB, 0x77, 14 * MIB);
    assert_true(find_vma(base + 2 * MIB, &vma));
    assert_int_equal(vma.from, (uintptr_t)base + 2 * MIB); /* one mapping for all that is committed */
    assert_int_equal(vma.to, (uintptr_t)base + 16 * MIB);
    assert_string_equal(vma.perms, "rw-p");
    assert_null(strstr(vma.flags, " dd"));

    assert_true(os_decommit(base + 6 * MIB, 4 * MIB, OS_SUPERSLAB));
    assert_int_equal(mapped(), before + 10 * MIB);
    assert_true(touching_kills(base + 6 * MIB));
    assert_int_equal(base[6 * MIB - 1], 0x77);
    assert_int_equal(base[10 * MIB], 0x77);
    assert_true(os_commit(base + 6 * MIB, 4 * MIB, OS_SUPERSLAB));
    all_bytes_read_zero(base + 6 * MIB, 4 * MIB);

    assert_true(os_decommit(base + 2 * MIB, 14 * MIB, OS_SUPERSLAB));
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
        ptr = remap(ptr, len, more, 64 * KIB);
        assert_non_null(ptr);
        assert_int_equal((uintptr_t)ptr % (64 * KIB), 0);
        assert_true(is_filled(ptr, len));
        all_bytes_read_zero(ptr + len, more - len);
        fill(ptr, more);
        len = more;
        assert_int_equal(mapped(), before + len);
    }
    assert_true(os_unmap(ptr, len, OS_HUGE));
    assert_int_equal(mapped(), before);
    assert_int_equal(errno, AN_ERRNO);
}

static void a_remap_that_is_hemmed_in_moves_to_an_aligned_place(void **state)
{
    (void)state;
    char *room = os_reserve(16 * MIB, 2 * MIB);
    char *ptr = room + 4 * MIB;
    assert_true(os_commit(ptr, 1 * MIB, OS_SUPERSLAB)); /* PROT_NONE on both sides */
    fill(ptr, 1 * MIB);
    char *moved = remap(ptr, 1 * MIB, 3 * MIB, 2 * MIB);
    assert_non_null(moved);
    assert_ptr_not_equal(moved, ptr);
    assert_int_equal((uintptr_t)moved % (2 * MIB), 0);
    assert_true(is_filled(moved, 1 * MIB));
    all_bytes_read_zero(moved + 1 * MIB, 2 * MIB);
    assert_true(os_unmap(moved, 3 * MIB, OS_HUGE));
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
        char *grown = remap(ptr, len, len * 3, 64 * KIB);
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

/* ---- fork ---- */

static int reads_zero(void *page)
{
    CLAIM(*(volatile uint32_t *)page == 0);
    *(volatile uint32_t *)page = 7;
    return 0;
}

static void the_page_is_wiped_in_a_child_of_fork_and_of_raw_clone(void **state)
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
    assert_int_equal(*page, 0x12345678);
}

#ifndef UNDER_TSAN
static int reads_token(void *page)
{
    return *(volatile uint32_t *)page == 0x12345678 ? 0 : 1;
}

static void the_page_is_not_wiped_in_a_vforked_child(void **state)
{
    (void)state;
    volatile uint32_t *page = os_wipe_on_fork_page();
    assert_non_null(page);
    *page = 0x12345678;
    assert_int_equal(in_sharing_child(reads_token, (void *)page), 0);
}
#endif

/* ---- time and chance ---- */

static int draw(void *arg)
{
    uint64_t drawn[64];
    if (arg != NULL) { /* a sandbox that knows no getrandom */
        struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
        uint64_t none;
        CLAIM(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
        CLAIM(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
        CLAIM(syscall(SYS_getrandom, &none, sizeof none, 0) == -1 && errno == ENOSYS);
    }
    errno = AN_ERRNO;
    for (int i = 0; i < 64; i++) {
        drawn[i] = os_random64();
        for (int k = 0; k < i; k++)
            CLAIM(drawn[k] != drawn[i]);
        CLAIM(drawn[i] != 0);
    }
    CLAIM(errno == AN_ERRNO);
    return 0;
}

static void no_two_random_numbers_are_alike(void **state)
{
    (void)state;
    assert_int_equal(claims_of(draw, NULL), 0);
    assert_int_equal(claims_of(draw, "sandboxed"), 0);
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
        cmocka_unit_test(remaps_of_many_threads_do_not_meet),
        cmocka_unit_test(the_page_is_wiped_in_a_child_of_fork_and_of_raw_clone),
        cmocka_unit_test(no_two_random_numbers_are_alike),
        cmocka_unit_test(the_clocks_do_not_go_back),
#ifndef UNDER_TSAN
        cmocka_unit_test(the_page_is_not_wiped_in_a_vforked_child),
#endif
    };
    return cmocka_run_group_tests_name("os", tests, NULL, NULL);
}
