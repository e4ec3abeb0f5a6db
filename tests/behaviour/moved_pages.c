/* moved_pages - which pages a growing block lies on, before and after each step: the kernel's own numbers of them.
 *
 *   moved_pages steps HOW FROM_KIB TO_KIB [hemmed]   doubles a block; a line for each step: "FROM_KIB copied|moved|stayed"
 *   moved_pages again HOW ROUNDS                     grows many blocks again and again, and counts the process's mappings
 *   moved_pages settle HOW MOST_KIB                  grows a block again and again, on pages that are there after some rounds
 *   moved_pages limit HOW                            grows a block until it is refused, and looks whether it is whole
 *   moved_pages locked HOW                           grows blocks of a process that locked its memory, which stays locked
 *
 * HOW is realloc or rallocx. hemmed: another block lies behind it at each step. */
#include <dlfcn.h>
#include <malloc.h>
#include <string.h>
#include <sys/resource.h>

#include "check.h"

static void *(*rallocx)(void *ptr, size_t size, int flags);

static void choose(const char *how)
{
    if (strcmp(how, "rallocx") == 0)
        *(void **)&rallocx = dlsym(RTLD_DEFAULT, how);
    require(rallocx != NULL || strcmp(how, "realloc") == 0, "no %s", how);
}

static void *grow(void *ptr, size_t size)
{
    return opaque(rallocx != NULL ? rallocx(ptr, size, 0) : realloc(ptr, size));
}

/* The frames of the pages that lie wholly in the block, a word each. Returns how many. */
static size_t frames_of(const void *block, size_t size, uint64_t *frames)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), first = ((uintptr_t)block + page - 1) / page;
    size_t count = ((uintptr_t)block + size) / page - first, done = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    require(fd >= 0, "can't open /proc/self/pagemap");
    while (done < count * 8) {
        ssize_t got = pread(fd, (char *)frames + done, count * 8 - done, (off_t)(first * 8 + done));
        require(got > 0, "can't read /proc/self/pagemap");
        done += (size_t)got;
    }
    close(fd);
    for (size_t i = 0; i < count; i++) {
        require(frames[i] >> 63 != 0, "page %zu of %zu is not there", i, count);
        frames[i] &= (UINT64_C(1) << 55) - 1;
        require(frames[i] != 0, "the kernel does not tell the pages' frames to this user");
    }
    return count;
}

/* Takes what lies free around the block, if it is one of those that lie together, until what is behind it is taken. Behind
 * a mapping, which may be longer than the block, the kernel may have left addresses free: the first page there is taken. */
static void hem_in(char *block)
{
    size_t usable = malloc_usable_size(block);
    uintptr_t end = (uintptr_t)block + usable;
    for (uintptr_t page = end & ~(uintptr_t)4095; page < end + usable / 4; page += 4096) {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
        if (mmap((void *)page, 4096, PROT_NONE, flags, -1, 0) == (void *)page)
            break;
    }
    for (unsigned i = 0; i < 2 * MIB / (64 * KIB); i++) {
        uintptr_t fence = (uintptr_t)take(64 * KIB);
        if (fence >= end && fence < end + 64 * KIB)
            break;
    }
}

static void steps(size_t size, size_t most, bool hemmed)
{
    uint64_t *before = own_memory(most / 4096 * 8), *after = own_memory(most / 4096 * 8);
    char *block = take(size);
    for (uint32_t step = 1; size < most; step++, size *= 2) {
        mark(block, size, step);
        if (hemmed)
            hem_in(block);
        size_t count = frames_of(block, size, before), kept = 0;
        char *now = grow(block, size * 2);
        require(now != NULL, "%zu bytes could not grow", size);
        require(check_marked(now, "steps") == size && malloc_usable_size(now) >= size * 2, "another size");
        if (frames_of(now, size, after) == count)
            for (size_t i = 0; i < count; i++)
                kept += before[i] == after[i];
        /* The kernel may move a page between frames by itself, now and then one. */
        bool same = kept >= count - count / 16;
        printf("%zu %s\n", size / KIB, !same ? "copied" : now == block ? "stayed" : "moved");
        block = now;
    }
    free(block);
}

static void again(unsigned rounds)
{
    enum { BLOCKS = 40 };
    char *blocks[BLOCKS];
    size_t before = 0;
    for (unsigned round = 0; round < rounds; round++) {
        for (uint32_t i = 0; i < BLOCKS; i++)
            mark(blocks[i] = take(512 * KIB), 512 * KIB, round + i);
        for (uint32_t i = 0; i < BLOCKS; i++) {
            for (size_t size = 512 * KIB; size <= (i % 3 + 1) * MIB; size += size / 2)
                require((blocks[i] = grow(blocks[i], size + size / 2)) != NULL, "%zu bytes could not grow", size);
            require(check_marked(blocks[i], "again") == 512 * KIB, "another size");
        }
        for (unsigned i = 0; i < BLOCKS; i++)
            free(blocks[(i * 7 + round) % BLOCKS]);
        if (round == rounds / 10)
            before = map_lines();
    }
    printf("%zu mappings, %zu at the end\n", before, map_lines());
    require(map_lines() < before + 2 * BLOCKS, "mappings became more");
}

static long faults(void)
{
    struct rusage usage;
    require(getrusage(RUSAGE_SELF, &usage) == 0, "getrusage: errno %d", errno);
    return usage.ru_minflt;
}

static void settle(size_t most)
{
    long first = 0, last = 0;
    for (uint32_t round = 0; round < 20; round++) {
        long before = faults();
        size_t size = 64 * KIB, fences = 0;
        char *block = take(size), *fence[16];
        mark(block, size, round);
        for (; size < most; mark(block, size, round)) {
            fence[fences++] = take(64 * KIB);
            require((block = grow(block, size * 2)) != NULL, "%zu bytes could not grow", size);
            require(check_marked(block, "settle") == size, "another size");
            size *= 2;
        }
        free(block);
        while (fences > 0)
            free(fence[--fences]);
        *(round == 0 ? &first : &last) = faults() - before;
    }
    printf("%ld faults in the first round, %ld in the last\n", first, last);
    require((size_t)first >= most / 4096 && (size_t)last <= most / 4096 / 10, "too many");
}

static void until_refused(void)
{
    size_t size = 512 * KIB;
    char *block = take(size), *now;
    mark(block, size, 5);
    while (errno = 0, (now = grow(block, size + size / 8)) != NULL) {
        require(check_marked(now, "limit") == size, "another size");
        mark(block = now, size += size / 8, 5);
        take(64 * KIB);
        require(size < (size_t)1 << 32, "no limit");
    }
    require(errno == ENOMEM, "refused with errno %d", errno);
    require(check_marked(block, "limit") == size && malloc_usable_size(block) >= size, "another size");
    free(block);
    mark(take(size / 2), size / 2, 1);
    printf("refused at %zu KiB\n", size / KIB);
}

static bool is_locked(void *ptr)
{
    uintptr_t page = (uintptr_t)ptr & ~(uintptr_t)4095;
    return msync((void *)page, 4096, MS_INVALIDATE) != 0 && errno == EBUSY;
}

static void locked(void)
{
    enum { BLOCKS = 20 };
    char *blocks[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++)
        mark(blocks[i] = take(512 * KIB), 512 * KIB, i);
    require(mlockall(MCL_CURRENT | MCL_FUTURE) == 0, "mlockall: errno %d", errno);
    for (unsigned i = 0; i < BLOCKS; i += 2)
        require((blocks[i] = grow(blocks[i], 3 * MIB)) != NULL, "block %u could not grow", i);
    for (unsigned i = 0; i < BLOCKS; i++) {
        require(check_marked(blocks[i], "locked") == 512 * KIB, "another size");
        require(is_locked(blocks[i]), "block %u is locked no longer", i);
    }
}

int main(int argc, char **argv)
{
    static char text[4096]; /* so that output takes no memory */
    setvbuf(stdout, text, _IOFBF, sizeof(text));
    require(argc >= 3, "usage: moved_pages steps|again|settle|limit|locked HOW ...");
    choose(argv[2]);
    if (strcmp(argv[1], "steps") == 0 && argc >= 5)
        steps(strtoull(argv[3], NULL, 10) * KIB, strtoull(argv[4], NULL, 10) * KIB, argc > 5);
    else if (strcmp(argv[1], "again") == 0 && argc == 4)
        again((unsigned)strtoul(argv[3], NULL, 10));
    else if (strcmp(argv[1], "settle") == 0 && argc == 4)
        settle(strtoull(argv[3], NULL, 10) * KIB);
    else if (strcmp(argv[1], "limit") == 0)
        until_refused();
    else if (strcmp(argv[1], "locked") == 0)
        locked();
    else
        fail("usage: moved_pages steps|again|settle|limit|locked HOW ...");
    return 0;
}
