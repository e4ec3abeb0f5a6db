/* libfloor - the least that a preloaded allocator of hakmem's design can do, to measure what the rest costs: a LIFO for
 * each thread and class, one byte for each 64 KiB in a flat map, no more. Nothing is checked, counted, shared or given
 * back; slabs go from the region to a thread and stay. Not for use. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define EXPORT __attribute__((visibility("default")))
#define SLAB ((size_t)64 << 10)
#define SLABS ((size_t)1 << 20) /* a region of 64 GiB */
#define CACHED_MAX ((size_t)32 << 10)
#define PAGE 4096u
#define CLASSES 73u /* class 0 is none: its list is always empty */

struct bin {
    void **head;
    char *fresh, *fresh_end; /* of the slab, what was never a block */
};

struct mapping { /* before a block beyond the classes, in a page of its own */
    void *base;
    size_t length, usable;
};

static _Thread_local __attribute__((tls_model("initial-exec"))) struct bin bins[CLASSES];
static uint8_t class_of[CACHED_MAX / 16 + 1], map[SLABS];
static uint32_t size_of[CLASSES];
static char *region;
static size_t slabs_used;

/* 16 byte steps to 256, then eight classes a doubling, as hakmem has them. Called before there is a second thread. */
static void prepare(void)
{
    size_t size = 0, units = 0;
    for (unsigned c = 1; c < CLASSES; c++) {
        size += size < 256 ? 16 : (size_t)1 << (63 - __builtin_clzll(size) - 3);
        size_of[c] = (uint32_t)size;
        for (; units <= size / 16; units++)
            class_of[units] = (uint8_t)c;
    }
    region = mmap(NULL, (SLABS + 1) * SLAB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED)
        __builtin_trap();
    region = (char *)(((uintptr_t)region + SLAB - 1) & ~(SLAB - 1));
}

static void *map_alloc(size_t size, size_t align)
{
    size_t length = size + align + 2 * PAGE;
    char *base = length < size ? MAP_FAILED
                               : mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        errno = ENOMEM;
        return NULL;
    }
    char *block = (char *)(((uintptr_t)base + PAGE + align - 1) & ~(uintptr_t)(align - 1));
    *(struct mapping *)(void *)(block - PAGE) = (struct mapping){base, length, (size_t)(base + length - block)};
    return block;
}

/* A page's worth of blocks becomes the list. */
static __attribute__((noinline)) void *refill(size_t size)
{
    if (region == NULL)
        prepare();
    if (size > CACHED_MAX)
        return map_alloc(size, PAGE);
    unsigned c = class_of[(size + 15) / 16];
    struct bin *bin = &bins[c];
    uint32_t step = size_of[c];
    if (bin->head == NULL) {
        if ((size_t)(bin->fresh_end - bin->fresh) < step) {
            size_t slab = __atomic_fetch_add(&slabs_used, 1, __ATOMIC_RELAXED);
            if (slab >= SLABS)
                return map_alloc(size, PAGE);
            map[slab] = (uint8_t)c;
            bin->fresh = region + slab * SLAB;
            bin->fresh_end = bin->fresh + SLAB;
        }
        void **tail = NULL;
        for (size_t n = PAGE / step + 1; n != 0 && (size_t)(bin->fresh_end - bin->fresh) >= step; n--) {
            void **block = (void **)(void *)bin->fresh;
            bin->fresh += step;
            *block = NULL;
            if (tail == NULL)
                bin->head = block;
            else
                *tail = block;
            tail = block;
        }
    }
    void **block = bin->head;
    bin->head = *block;
    return block;
}

EXPORT void *malloc(size_t size)
{
    if (__builtin_expect(size <= CACHED_MAX, 1)) {
        struct bin *bin = &bins[class_of[(size + 15) / 16]];
        void **block = bin->head;
        if (__builtin_expect(block != NULL, 1)) {
            bin->head = *block;
            return block;
        }
    }
    return refill(size);
}

static __attribute__((noinline)) void unmap_block(void *ptr)
{
    if (ptr != NULL) {
        const struct mapping mapping = *(struct mapping *)(void *)((char *)ptr - PAGE);
        munmap(mapping.base, mapping.length);
    }
}

EXPORT void free(void *ptr)
{
    size_t slab = ((uintptr_t)ptr - (uintptr_t)region) / SLAB;
    unsigned c = __builtin_expect(slab < SLABS, 1) ? map[slab] : 0;
    if (__builtin_expect(c == 0, 0)) {
        unmap_block(ptr);
        return;
    }
    *(void **)ptr = bins[c].head;
    bins[c].head = ptr;
}

EXPORT size_t malloc_usable_size(void *ptr)
{
    size_t slab = ((uintptr_t)ptr - (uintptr_t)region) / SLAB;
    if (ptr == NULL)
        return 0;
    return slab < SLABS ? size_of[map[slab]] : ((struct mapping *)(void *)((char *)ptr - PAGE))->usable;
}

EXPORT void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    void *block = malloc(bytes);
    return block == NULL || bytes > CACHED_MAX ? block : memset(block, 0, bytes);
}

EXPORT void *realloc(void *ptr, size_t size)
{
    size_t old = malloc_usable_size(ptr);
    if (ptr != NULL && size <= old && size >= old / 2)
        return ptr;
    void *block = malloc(size);
    if (block != NULL && ptr != NULL) {
        memcpy(block, ptr, old < size ? old : size);
        free(ptr);
    }
    return block;
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
    return align <= 16 ? malloc(size) : map_alloc(size, align < PAGE ? PAGE : align);
}

EXPORT void *memalign(size_t align, size_t size)
{
    return aligned_alloc(align, size);
}

EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
    void *block = aligned_alloc(align, size);
    if (block == NULL)
        return ENOMEM;
    *out = block;
    return 0;
}
