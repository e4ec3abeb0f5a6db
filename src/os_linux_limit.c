/* os_linux_limit.c - which of the kernel's limits a refused request ran into, as far as /proc, the resource limits and a try tell. */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A split takes up to two mappings more, a move a few more still. */
#define MAP_COUNT_MARGIN 8u
#define ADDRESS_BITS 47u

struct proc_file {
    int fd;
    size_t pos, len;
    char buf[1024]; /* on the stack of whoever asked for memory: small */
};

static bool proc_open(struct proc_file *file, const char *path)
{
    file->pos = file->len = 0;
    file->fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    return file->fd >= 0;
}

static void proc_close(struct proc_file *file)
{
    syscall(SYS_close, file->fd);
}

/* The next character, or -1 at the end. */
static int proc_next(struct proc_file *file)
{
    if (file->pos == file->len) {
        long got;
        do {
            got = syscall(SYS_read, file->fd, file->buf, sizeof file->buf);
        } while (got < 0 && errno == EINTR);
        if (got <= 0)
            return -1;
        file->pos = 0;
        file->len = (size_t)got;
    }
    return (unsigned char)file->buf[file->pos++];
}

/* Move behind the first line start that reads `key`. The empty key is at the beginning. */
static bool proc_find(struct proc_file *file, const char *key)
{
    const char *want = key;
    while (*want != '\0') {
        int c = proc_next(file);
        if (c == *want) {
            want++;
            continue;
        }
        while (c >= 0 && c != '\n')
            c = proc_next(file);
        if (c < 0)
            return false;
        want = key;
    }
    return true;
}

/* The number that stands behind `key` in a file of /proc. */
static bool proc_number(const char *path, const char *key, uint64_t *value)
{
    struct proc_file file;
    if (!proc_open(&file, path))
        return false;
    bool found = false;
    if (proc_find(&file, key)) {
        int c = proc_next(&file);
        while (c == ' ' || c == '\t')
            c = proc_next(&file);
        for (*value = 0; c >= '0' && c <= '9'; c = proc_next(&file)) {
            *value = *value * 10 + (uint64_t)(c - '0');
            found = true;
        }
    }
    proc_close(&file);
    return found;
}

static bool proc_kilobytes(const char *path, const char *key, uint64_t *bytes)
{
    bool found = proc_number(path, key, bytes);
    *bytes = found ? *bytes << 10 : 0;
    return found;
}

/* Whether `len` more than `used` goes beyond the limit of a resource. */
static bool beyond_rlimit(int resource, uint64_t used, uint64_t len)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return false;
    return used > limit.rlim_cur || len > limit.rlim_cur - used;
}

static bool beyond_address_space(uint64_t len)
{
    uint64_t used;
    if (!proc_kilobytes("/proc/self/status", "VmSize:", &used)) /* then at least what we know of ourselves */
        used = atomic_load_relaxed(&os_account.mapped) + atomic_load_relaxed(&os_account.reserved);
    return beyond_rlimit(RLIMIT_AS, used, len);
}

static bool beyond_data(uint64_t len)
{
    uint64_t used;
    if (!proc_kilobytes("/proc/self/status", "VmData:", &used))
        used = atomic_load_relaxed(&os_account.mapped);
    return beyond_rlimit(RLIMIT_DATA, used, len);
}

/* Mode 2 counts what all processes may write to; mode 0 refuses only what no machine of this size could hold. */
static bool beyond_overcommit(uint64_t len)
{
    uint64_t mode, limit, used;
    if (!proc_number("/proc/sys/vm/overcommit_memory", "", &mode) || mode == 1)
        return false;
    if (mode == 2)
        return proc_kilobytes("/proc/meminfo", "CommitLimit:", &limit) &&
               proc_kilobytes("/proc/meminfo", "Committed_AS:", &used) && (used > limit || len > limit - used);
    return proc_kilobytes("/proc/meminfo", "MemTotal:", &limit) &&
           proc_kilobytes("/proc/meminfo", "SwapTotal:", &used) && len > limit + used;
}

/* Reads all of /proc/self/maps, some milliseconds when there are many: the last that is asked. */
static bool beyond_map_count(void)
{
    uint64_t most, count = 0;
    struct proc_file file;
    if (!proc_number("/proc/sys/vm/max_map_count", "", &most) || !proc_open(&file, "/proc/self/maps"))
        return false;
    for (int c; (c = proc_next(&file)) >= 0;)
        count += c == '\n';
    proc_close(&file);
    return count + MAP_COUNT_MARGIN >= most;
}

static enum os_limit find_limit(size_t size)
{
    /* An aligned mapping takes more for a moment; no size that overflows is within any limit. */
    uint64_t len = size < SIZE_MAX - HK_SUPERSLAB_SIZE ? size + HK_SUPERSLAB_SIZE : size;
    if (beyond_address_space(len))
        return OS_LIMIT_AS;
    if (beyond_data(len))
        return OS_LIMIT_DATA;
    if (len >> ADDRESS_BITS != 0) /* more than the processor can address */
        return OS_LIMIT_UNKNOWN;
    if (beyond_overcommit(len))
        return OS_LIMIT_OVERCOMMIT;
    return beyond_map_count() ? OS_LIMIT_MAP_COUNT : OS_LIMIT_UNKNOWN;
}

enum os_limit os_limit_hit(size_t len, int error)
{
    if (error != ENOMEM)
        return error == 0 ? OS_LIMIT_NONE : OS_LIMIT_UNKNOWN;
    int saved = errno;
    enum os_limit limit = find_limit(len);
    errno = saved;
    return limit;
}

/* Where a limit of locked memory forbids, that is no lack of addresses. */
static bool can_reserve(size_t len)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *ptr = (void *)syscall(SYS_mmap, NULL, len, PROT_NONE, flags, -1, 0L);
    if (ptr == MAP_FAILED)
        return errno == EAGAIN;
    syscall(SYS_munmap, ptr, len);
    return true;
}

bool os_lacks_addresses(size_t len)
{
    uint64_t limit = os_address_space_limit();
    int saved = errno;
    bool lacks = len <= limit && len >> ADDRESS_BITS == 0 && !can_reserve(len) &&
                 (limit != UINT64_MAX || can_reserve(os_page_size)); /* else all mappings are used up */
    errno = saved;
    return lacks;
}
