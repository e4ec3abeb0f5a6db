/* os_linux.c - memory, time and chance, as Linux gives them. Straight system calls, so that neither a
 * wrapper that a program puts around mmap nor a cancellation point stands in between. */
#include "os.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "../probes/probe.h"

#define MADVISE_RETRIES 64u
#ifndef MREMAP_DONTUNMAP /* C libraries before 2.32 */
#define MREMAP_DONTUNMAP 4
#endif

struct os_account os_account __attribute__((aligned(HK_ACCOUNT_ALIGN)));
size_t os_page_size = 4096;
size_t os_guard;
static uint64_t physical_memory;
static bool pages_stay; /* any: the kernel does not know MREMAP_DONTUNMAP */

/* ---- the system calls, and their faults ---- */

#ifdef HK_FAULT_INJECTION
uint64_t os_fail_at;
uint64_t os_fail_for = 1;

static bool refused(void)
{
    uint64_t at = atomic_load_relaxed(&os_fail_at);
    do {
        if (at == 0)
            return false;
    } while (at > 1 && !atomic_cas_acq_rel(&os_fail_at, &at, at - 1));
    if (at > 1)
        return false;
    if (atomic_sub_relaxed(&os_fail_for, 1) <= 1) {
        atomic_store_relaxed(&os_fail_for, 1);
        atomic_store_relaxed(&os_fail_at, 0);
    }
    errno = ENOMEM;
    return true;
}
#else
static inline bool refused(void)
{
    return false;
}
#endif

/* TSan must see what is unmapped and mapped anew, else it takes two lives of an address for one. */
#if defined(__SANITIZE_THREAD__)
#define HK_THROUGH_LIBC 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HK_THROUGH_LIBC 1
#endif
#endif

static void *sys_mmap(void *addr, size_t len, int prot, int flags)
{
    if (refused())
        return NULL;
#ifdef HK_THROUGH_LIBC
    void *ptr = mmap(addr, len, prot, flags, -1, 0);
#else
    void *ptr = (void *)syscall(SYS_mmap, addr, len, prot, flags, -1, 0);
#endif
    return ptr == MAP_FAILED ? NULL : ptr;
}

static bool sys_munmap(void *ptr, size_t len)
{
    if (refused())
        return false;
#ifdef HK_THROUGH_LIBC
    return munmap(ptr, len) == 0;
#else
    return syscall(SYS_munmap, ptr, len) == 0;
#endif
}

static void *sys_mremap(void *ptr, size_t old_len, size_t new_len, int flags, void *target)
{
    if (refused())
        return NULL;
#ifdef HK_THROUGH_LIBC
    if (flags == 0 && new_len > old_len) { /* grown in place, the new part would look like what was there before */
        errno = ENOMEM;
        return NULL;
    }
    void *moved = mremap(ptr, old_len, new_len, flags, target);
#else
    void *moved = (void *)syscall(SYS_mremap, ptr, old_len, new_len, flags, target);
#endif
    return moved == MAP_FAILED ? NULL : moved;
}

static bool sys_mprotect(void *ptr, size_t len, int prot)
{
    return !refused() && syscall(SYS_mprotect, ptr, len, prot) == 0;
}

static bool sys_madvise(void *ptr, size_t len, int advice)
{
    if (refused())
        return false;
    for (unsigned tries = 0; syscall(SYS_madvise, ptr, len, advice) != 0; tries++) {
        if ((errno != EAGAIN && errno != EINTR) || tries == MADVISE_RETRIES)
            return false;
    }
    return true;
}

/* ---- the account ---- */

static void count_map(const void *ptr, size_t len, enum os_purpose purpose)
{
    uint64_t mapped = atomic_add_relaxed(&os_account.mapped, len) + len;
    uint64_t peak = atomic_load_relaxed(&os_account.mapped_peak);
    while (mapped > peak && !atomic_cas_acq_rel(&os_account.mapped_peak, &peak, mapped))
        continue;
    if (purpose == OS_META)
        atomic_add_relaxed(&os_account.meta, len);
    atomic_add_relaxed(&os_account.map_calls, 1);
    HK_PROBE_FIRE(os_map, ptr, len, purpose, mapped);
}

static void count_unmap(const void *ptr, size_t len, enum os_purpose purpose)
{
    uint64_t mapped = atomic_sub_relaxed(&os_account.mapped, len) - len;
    if (purpose == OS_META)
        atomic_sub_relaxed(&os_account.meta, len);
    atomic_add_relaxed(&os_account.unmap_calls, 1);
    HK_PROBE_FIRE(os_unmap, ptr, len, purpose, mapped);
}

static void count_purge(const void *ptr, size_t len)
{
    uint64_t purged = atomic_add_relaxed(&os_account.purged, len) + len;
    atomic_add_relaxed(&os_account.purge_calls, 1);
    HK_PROBE_FIRE(os_purge, ptr, len, purged);
}

static void count_failure(void)
{
    atomic_add_relaxed(&os_account.failed_calls, 1);
}

/* ---- what the machine is ---- */

void os_init(void)
{
    int saved = errno;
    unsigned long page = getauxval(AT_PAGESZ);
    if (page != 0)
        os_page_size = page;
    struct sysinfo info;
    if (syscall(SYS_sysinfo, &info) == 0)
        physical_memory = (uint64_t)info.totalram * info.mem_unit;
    errno = saved;
}

uint64_t os_physical_memory(void)
{
    return physical_memory;
}

uint64_t os_address_space_limit(void)
{
    struct rlimit limit;
    int saved = errno;
    bool known = getrlimit(RLIMIT_AS, &limit) == 0;
    errno = saved;
    return known && limit.rlim_cur != RLIM_INFINITY ? limit.rlim_cur : UINT64_MAX;
}

/* ---- mappings ---- */

/* Cut [ptr, ptr + len) out of the mapping of `total` bytes at whole. When the kernel refuses a cut (max_map_count), the
 * whole is given back: to cut away all that was just added needs no mapping more than there was. */
static void *trim(char *whole, size_t total, char *ptr, size_t len)
{
    size_t head = (size_t)(ptr - whole), tail = total - head - len;
    if (head != 0 && !sys_munmap(whole, head)) {
        sys_munmap(whole, total);
        errno = ENOMEM;
        return NULL;
    }
    if (tail != 0 && !sys_munmap(ptr + len, tail)) {
        sys_munmap(ptr, len + tail);
        errno = ENOMEM;
        return NULL;
    }
    return ptr;
}

static void *map_aligned(size_t len, size_t align, int prot, int flags)
{
    flags |= MAP_PRIVATE | MAP_ANONYMOUS;
    char *ptr = sys_mmap(NULL, len, prot, flags);
    if (ptr == NULL || ((uintptr_t)ptr & (align - 1)) == 0)
        return ptr;
    /* Seldom so: what is asked for again and again comes out aligned below the one before. */
    sys_munmap(ptr, len);
    size_t total = len + align - os_page_size;
    if (total < len) {
        errno = ENOMEM;
        return NULL;
    }
    ptr = sys_mmap(NULL, total, prot, flags);
    return ptr == NULL ? NULL : trim(ptr, total, (char *)hk_align_up((uintptr_t)ptr, align), len);
}

void *os_reserve(size_t len, size_t align)
{
    int saved = errno;
    void *ptr = map_aligned(len, align, PROT_NONE, MAP_NORESERVE);
    if (ptr == NULL) {
        count_failure();
        return NULL;
    }
    sys_madvise(ptr, len, MADV_DONTDUMP); /* a refusal costs a core dump some size, no more */
    atomic_add_relaxed(&os_account.reserved, len);
    atomic_add_relaxed(&os_account.map_calls, 1);
    HK_PROBE_FIRE(os_map, ptr, len, OS_REGION, atomic_load_relaxed(&os_account.mapped));
    errno = saved;
    return ptr;
}

bool os_commit(void *ptr, size_t len, enum os_purpose purpose)
{
    int saved = errno;
    if (!sys_mprotect(ptr, len, PROT_READ | PROT_WRITE)) {
        count_failure();
        return false;
    }
    sys_madvise(ptr, len, MADV_DODUMP);
    atomic_sub_relaxed(&os_account.reserved, len);
    count_map(ptr, len, purpose);
    errno = saved;
    return true;
}

static bool shut_committed(void *ptr, size_t len)
{
    count_failure();
    return os_purge(ptr, len) && sys_mprotect(ptr, len, PROT_NONE);
}

/* mprotect back leaves the memory charged and the mapping split from its neighbours. But who is beyond RLIMIT_AS, lowered late, is
 * refused every mmap. */
bool os_decommit(void *ptr, size_t len, enum os_purpose purpose)
{
    int saved = errno;
    if (sys_mmap(ptr, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED) == NULL &&
        !shut_committed(ptr, len)) {
        return false;
    }
    sys_madvise(ptr, len, MADV_DONTDUMP);
    atomic_add_relaxed(&os_account.reserved, len);
    count_unmap(ptr, len, purpose);
    errno = saved;
    return true;
}

bool os_unreserve(void *ptr, size_t len)
{
    int saved = errno;
    if (!sys_munmap(ptr, len)) {
        count_failure();
        return false;
    }
    atomic_sub_relaxed(&os_account.reserved, len);
    atomic_add_relaxed(&os_account.unmap_calls, 1);
    HK_PROBE_FIRE(os_unmap, ptr, len, OS_REGION, atomic_load_relaxed(&os_account.mapped));
    errno = saved;
    return true;
}

/* What is kept unreadable around a mapping. In front of the allocator's tables always: a program that writes on and on from a block
 * below does not reach them. */
struct fence {
    size_t front, behind;
};

static struct fence fence_of(enum os_purpose purpose)
{
    if (purpose == OS_META)
        return (struct fence){os_page_size, 0};
    return purpose == OS_LEGACY || purpose == OS_HUGE ? (struct fence){os_guard, os_guard} : (struct fence){0, 0};
}

/* The kernel is asked for whole multiples of the alignment: so the mapping after it comes out aligned at once. */
static void *map_fenced(size_t len, size_t align, struct fence fence)
{
    size_t room = align > fence.front ? align : fence.front, total = room + len + (fence.behind != 0 ? align : 0);
    char *whole = map_aligned(total, align, PROT_NONE, 0);
    if (whole == NULL)
        return NULL;
    char *ptr = whole + room, *kept = ptr - fence.front;
    size_t kept_len = fence.front + len + fence.behind;
    if (trim(whole, total, kept, kept_len) == NULL)
        return NULL;
    if (sys_mprotect(ptr, len, PROT_READ | PROT_WRITE))
        return ptr;
    sys_munmap(kept, kept_len);
    errno = ENOMEM;
    return NULL;
}

void *os_map(size_t len, size_t align, enum os_purpose purpose)
{
    int saved = errno;
    struct fence fence = fence_of(purpose);
    void *ptr = fence.front != 0 ? map_fenced(len, align, fence) : map_aligned(len, align, PROT_READ | PROT_WRITE, 0);
    if (ptr == NULL) {
        count_failure();
        return NULL;
    }
    count_map(ptr, len, purpose);
    errno = saved;
    return ptr;
}

bool os_unmap(void *ptr, size_t len, enum os_purpose purpose)
{
    int saved = errno;
    struct fence fence = fence_of(purpose);
    if (!sys_munmap((char *)ptr - fence.front, fence.front + len + fence.behind)) {
        int error = errno;
        count_failure();
        os_purge(ptr, len);
        errno = error;
        return false;
    }
    count_unmap(ptr, len, purpose);
    errno = saved;
    return true;
}

bool os_purge(void *ptr, size_t len)
{
    int saved = errno;
    if (!sys_madvise(ptr, len, MADV_DONTNEED)) {
        count_failure();
        return false;
    }
    count_purge(ptr, len);
    errno = saved;
    return true;
}

bool os_shut(void *ptr, size_t len)
{
    int saved = errno;
    bool purged = os_purge(ptr, len), shut = sys_mprotect(ptr, len, PROT_NONE);
    if (!shut)
        count_failure();
    errno = saved;
    return purged && shut;
}

/* ---- moving pages ---- */

bool os_grow(void *ptr, size_t old_len, size_t new_len)
{
    int saved = errno;
    if (sys_mremap(ptr, old_len, new_len, 0, NULL) == NULL) {
        count_failure();
        return false;
    }
    count_map((char *)ptr + old_len, new_len - old_len, OS_HUGE);
    errno = saved;
    return true;
}

void *os_target(size_t len, size_t align)
{
    void *target = map_aligned(len, align, PROT_NONE, MAP_NORESERVE);
    if (target == NULL)
        count_failure();
    return target;
}

void os_drop_target(void *target, size_t len)
{
    int saved = errno;
    sys_munmap(target, len);
    errno = saved;
}

/* What the kernel says of the word at ptr, a readable address or not: 0 when it reads `value`, EAGAIN when it does not, EFAULT
 * when it can't be read, another error when the kernel does not tell. FUTEX_CMP_REQUEUE compares, and here has nobody to wake.
 * errno kept. */
static int compare_word(const uint32_t *ptr, uint32_t value)
{
    int saved = errno;
    int error = syscall(SYS_futex, ptr, FUTEX_CMP_REQUEUE_PRIVATE, 0, 0, ptr, value) == 0 ? 0 : errno;
    errno = saved;
    return error;
}

bool os_still_reads(const uint32_t *ptr, uint32_t value)
{
    int error = compare_word(ptr, value);
    return error != EAGAIN && error != EFAULT;
}

/* Where the kernel refuses, it may have dropped the target already, and another thread may have mapped something there: a
 * random word in it tells whether it is still ours to unmap. */
bool os_move(void *ptr, size_t old_len, void *target, size_t new_len)
{
    int saved = errno;
    uint32_t token = (uint32_t)os_random64() | 1;
    if (!sys_mprotect(target, os_page_size, PROT_READ | PROT_WRITE)) {
        count_failure();
        os_drop_target(target, new_len);
        return false;
    }
    *(uint32_t *)target = token;
    if (sys_mremap(ptr, old_len, new_len, MREMAP_MAYMOVE | MREMAP_FIXED, target) == NULL) {
        int error = errno;
        count_failure();
        if (compare_word(target, token) == 0)
            sys_munmap(target, new_len);
        errno = error;
        return false;
    }
    count_unmap(ptr, old_len, OS_HUGE);
    count_map(target, new_len, OS_HUGE);
    errno = saved;
    return true;
}

/* MS_INVALIDATE is refused where memory is locked, and does nothing to memory that is no file's. */
bool os_can_move_pages(void *ptr, size_t len)
{
    int saved = errno;
    bool movable = !atomic_load_relaxed(&pages_stay) && syscall(SYS_msync, ptr, len, MS_INVALIDATE) == 0;
    errno = saved;
    return movable;
}

/* The pages go to the place of the target, not onto it: the kernel takes its address for a wish. So there is no moment at
 * which a refusal leaves a hole, and where another thread is faster to those addresses, or to those behind them, the pages
 * come back as a copy, which nobody can refuse. */
bool os_move_pages(void *ptr, size_t len, void *target, size_t new_len)
{
    int saved = errno;
    os_drop_target(target, new_len);
    void *moved = sys_mremap(ptr, len, len, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, target);
    if (moved != target || sys_mremap(moved, len, new_len, 0, NULL) == NULL) {
        int error = moved == NULL ? errno : ENOMEM;
        count_failure();
        if (error == EINVAL)
            atomic_store_relaxed(&pages_stay, true);
        if (moved != NULL) {
            memcpy(ptr, moved, len);
            if (!sys_munmap(moved, len))
                sys_madvise(moved, len, MADV_DONTNEED);
        }
        errno = error;
        return false;
    }
    count_purge(ptr, len);
    count_map(target, new_len, OS_HUGE);
    errno = saved;
    return true;
}

volatile uint32_t *os_wipe_on_fork_page(void)
{
    uint32_t *page = os_map(os_page_size, os_page_size, OS_META);
    if (page == NULL)
        return NULL;
    int saved = errno;
    if (!sys_madvise(page, os_page_size, MADV_WIPEONFORK)) {
        os_unmap(page, os_page_size, OS_META);
        return NULL;
    }
    *page = 1;
    errno = saved;
    return page;
}

/* ---- time and chance ---- */

uint64_t os_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t os_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t scramble(uint64_t x)
{
    x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return x ^ (x >> 32);
}

/* libc makes its stack guard of AT_RANDOM's bytes: both words go in, so that neither comes out again. */
static uint64_t random_from_start(void)
{
    static uint64_t drawn;
    uint64_t seed[2] = {0, 0};
    const void *bytes = (const void *)getauxval(AT_RANDOM);
    if (bytes != NULL)
        memcpy(seed, bytes, sizeof seed);
    uint64_t count = atomic_add_relaxed(&drawn, 1) + 1;
    return scramble(scramble(seed[0] ^ os_now_ns()) + scramble(seed[1] ^ scramble(count)));
}

uint64_t os_random64(void)
{
    uint64_t value;
    int saved = errno;
    if (syscall(SYS_getrandom, &value, sizeof value, GRND_NONBLOCK) != (long)sizeof value)
        value = random_from_start();
    errno = saved;
    return value;
}
