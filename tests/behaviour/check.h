/* check.h - what the programs of this folder share. They aren't linked with the allocator: they see what any program
 * sees. None of it allocates, so that a measurement doesn't move what it measures. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* One line on standard error, written at once, and exit status 1. */
#define fail(...)                                                                      \
    do {                                                                               \
        char line_[512];                                                               \
        int length_ = snprintf(line_, sizeof(line_) - 1, __VA_ARGS__);                 \
        length_ = length_ < (int)sizeof(line_) - 1 ? length_ : (int)sizeof(line_) - 2; \
        line_[length_] = '\n';                                                         \
        if (write(STDERR_FILENO, line_, (size_t)length_ + 1) < 0)                      \
            _exit(2);                                                                  \
        _exit(1);                                                                      \
    } while (0)

#define require(condition, ...) \
    do {                        \
        if (!(condition))       \
            fail(__VA_ARGS__);  \
    } while (0)

/* The compiler may no longer know what ptr is, nor drop the allocation behind it. */
static inline void *opaque(void *ptr)
{
    __asm__ volatile("" : "+r"(ptr) : : "memory");
    return ptr;
}

static inline void *take(size_t size)
{
    void *ptr = opaque(malloc(size));
    require(ptr != NULL, "malloc(%zu) failed with errno %d", size, errno);
    return ptr;
}

/* xorshift64: state must not be 0. */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

static inline size_t random_between(uint64_t *state, size_t low, size_t high)
{
    return low + (size_t)(random_next(state) >> 11) % (high - low + 1);
}

static inline uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static inline void sleep_us(long us)
{
    struct timespec ts = {us / 1000000, us % 1000000 * 1000};
    while (nanosleep(&ts, &ts) != 0 && errno == EINTR)
        continue;
}

/* Zero-filled memory for the program's own books, from the kernel. */
static inline void *own_memory(size_t size)
{
    void *ptr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(ptr != MAP_FAILED, "mmap of %zu bytes for the program's own books: errno %d", size, errno);
    return ptr;
}

static inline size_t rss_bytes(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    require(length > 0, "can't read /proc/self/statm");
    close(fd);
    text[length] = '\0';
    const char *resident = strchr(text, ' ');
    require(resident != NULL, "/proc/self/statm reads '%s'", text);
    return (size_t)strtoull(resident, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* Lines of /proc/self/maps. */
static inline size_t map_lines(void)
{
    char text[4096];
    size_t lines = 0;
    ssize_t length;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    require(fd >= 0, "can't open /proc/self/maps");
    while ((length = read(fd, text, sizeof(text))) > 0)
        for (ssize_t i = 0; i < length; i++)
            lines += text[i] == '\n';
    close(fd);
    return lines;
}

static inline double mib(size_t bytes)
{
    return (double)bytes / (double)MIB;
}

/* A block that knows itself: its size and a tag in the first bytes, the tag's low byte in all the others. */
struct marked {
    uint32_t size;
    uint32_t tag;
    uint8_t body[];
};

static inline void mark(void *ptr, size_t size, uint32_t tag)
{
    struct marked *block = ptr;
    block->size = (uint32_t)size;
    block->tag = tag;
    memset(block->body, (uint8_t)tag, size - sizeof(*block));
}

/* The block's size; the program ends if any byte of it isn't as mark() left it. */
static inline size_t check_marked(const void *ptr, const char *whose)
{
    const struct marked *block = ptr;
    size_t length = (size_t)block->size - sizeof(*block);
    const uint8_t *body = block->body;
    require(block->size >= sizeof(*block), "%s: block %p has size %u", whose, ptr, block->size);
    if (length != 0)
        require(body[0] == (uint8_t)block->tag && memcmp(body, body + 1, length - 1) == 0,
                "%s: block %p of %u bytes, tag %#x, was overwritten", whose, ptr, block->size, block->tag);
    return block->size;
}

#endif
