/* check.h - what the conformance programs share: a check that counts and goes on, and every function of the ABI found by
 * name at run time, so that a program also runs on an allocator that lacks some, and no compiler sees through a call. */
#ifndef CHECK_H
#define CHECK_H

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

static unsigned long checks, failures;

static inline void check(bool passed, int line, const char *claim, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static inline void check(bool passed, int line, const char *claim, const char *format, ...)
{
    checks++;
    if (passed)
        return;
    failures++;
    if (failures > 20)
        return;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "line %d: not so: %s: ", line, claim);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

#define CHECK(claim, ...) check(claim, __LINE__, #claim, __VA_ARGS__)

/* Whether hakmem serves this process: what it promises beyond the standards is checked only then. */
static bool own;

static inline int check_result(void)
{
    printf("%lu checks, %lu failed, %s\n", checks, failures, own ? "on hakmem" : "on another allocator");
    return checks == 0 || failures != 0;
}

#define FUNCTIONS(F)                                      \
    F(void *, malloc, (size_t))                           \
    F(void *, calloc, (size_t, size_t))                   \
    F(void *, realloc, (void *, size_t))                  \
    F(void, free, (void *))                               \
    F(void *, aligned_alloc, (size_t, size_t))            \
    F(int, posix_memalign, (void **, size_t, size_t))     \
    F(void *, memalign, (size_t, size_t))                 \
    F(void *, valloc, (size_t))                           \
    F(void *, pvalloc, (size_t))                          \
    F(void *, reallocarray, (void *, size_t, size_t))     \
    F(void *, reallocf, (void *, size_t))                 \
    F(void, cfree, (void *))                              \
    F(void, free_sized, (void *, size_t))                 \
    F(void, free_aligned_sized, (void *, size_t, size_t)) \
    F(size_t, malloc_usable_size, (void *))               \
    F(int, malloc_trim, (size_t))                         \
    F(int, mallopt, (int, int))                           \
    F(struct mallinfo2, mallinfo2, (void))                \
    F(struct mallinfo, mallinfo, (void))                  \
    F(int, malloc_info, (int, FILE *))                    \
    F(void, malloc_stats, (void))                         \
    F(void *, mallocx, (size_t, int))                     \
    F(void *, rallocx, (void *, size_t, int))             \
    F(size_t, xallocx, (void *, size_t, size_t, int))     \
    F(size_t, sallocx, (const void *, int))               \
    F(void, dallocx, (void *, int))                       \
    F(void, sdallocx, (void *, size_t, int))              \
    F(size_t, nallocx, (size_t, int))

#define MALLOCX_ZERO 0x40

static struct {
#define F(result, name, parameters) result(*name) parameters;
    FUNCTIONS(F)
#undef F
} fn;

static inline void *find(const char *name)
{
    void *symbol = dlsym(RTLD_DEFAULT, name);
    if (symbol == NULL)
        printf("not there: %s\n", name);
    return symbol;
}

static inline void find_functions(void)
{
    own = dlsym(RTLD_DEFAULT, "hk_version") != NULL;
#define F(result, name, parameters) fn.name = (result(*) parameters)find(#name);
    FUNCTIONS(F)
#undef F
}

/* Every size at which something may change: each class's size, one less and one more, whichever way a doubling is divided
 * in 8 or 4; whole pages; and the last of the list, `most`, or a little less. Returns how many. */
static inline unsigned list_sizes(size_t *sizes, unsigned room, size_t most)
{
    unsigned n = 0;
    for (size_t size = 0; size <= 272 && n < room; size++)
        sizes[n++] = size;
    for (size_t doubling = 256; doubling < most; doubling *= 2)
        for (unsigned step = 1; step <= 8; step++)
            for (int off = -1; off <= 1 && n < room; off++)
                if (doubling + doubling / 8 * step + (size_t)off <= most)
                    sizes[n++] = doubling + doubling / 8 * step + (size_t)off;
    return n;
}

#define MOST_SIZES 1024

/* Byte i of the pattern of a tag: differs between neighbours, tags and pages. */
static inline unsigned char pattern(size_t i, unsigned tag)
{
    return (unsigned char)(i * 131 + (i >> 8) * 29 + (i >> 16) * 7 + tag * 53 + 11);
}

/* Every byte of a small block; of a large one the first 64 KiB, then some on every page, and its end. */
#define DENSE (64 * KIB)
#define STRIDE 509

static inline void fill(void *block, size_t size, unsigned tag)
{
    unsigned char *bytes = block;
    for (size_t i = 0; i < size; i += i < DENSE ? 1 : STRIDE)
        bytes[i] = pattern(i, tag);
    for (size_t i = size < 64 ? 0 : size - 64; i < size; i++)
        bytes[i] = pattern(i, tag);
}

/* size: at most that of the fill. */
static inline bool is_filled(const void *block, size_t size, unsigned tag)
{
    const unsigned char *bytes = block;
    for (size_t i = 0; i < size; i += i < DENSE ? 1 : STRIDE)
        if (bytes[i] != pattern(i, tag))
            return false;
    return true;
}

static inline bool is_zero(const void *block, size_t size)
{
    const unsigned char *bytes = block;
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static inline bool is_aligned(const void *block, size_t align)
{
    return ((uintptr_t)block & (align - 1)) == 0;
}

struct section {
    const char *name;
    void (*run)(void);
};

/* Run the sections named in argv, or all; after find_functions(). */
static inline int run_sections(const struct section *sections, unsigned count, char **argv)
{
    for (unsigned i = 0; i < count; i++) {
        bool wanted = argv[1] == NULL;
        for (char **arg = argv + 1; *arg != NULL; arg++)
            wanted |= strcmp(*arg, sections[i].name) == 0;
        if (wanted)
            sections[i].run();
    }
    return check_result();
}

#endif
