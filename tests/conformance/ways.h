/* ways.h - for conformance.c: every way to get a block of n bytes, and to free it. */
#ifndef WAYS_H
#define WAYS_H

#include "check.h"

#include <unistd.h>

static size_t sizes[MOST_SIZES];
static unsigned size_count;
static size_t page;

static void *by_malloc(size_t n)
{
    return fn.malloc(n);
}
static void *by_calloc(size_t n)
{
    return fn.calloc(1, n);
}
static void *by_calloc_items(size_t n)
{
    return fn.calloc(n, 1);
}
static void *by_realloc(size_t n)
{
    return fn.realloc(NULL, n);
}
static void *by_reallocarray(size_t n)
{
    return fn.reallocarray(NULL, 1, n);
}
static void *by_reallocf(size_t n)
{
    return fn.reallocf(NULL, n);
}
static void *by_aligned_alloc(size_t n)
{
    return fn.aligned_alloc(64, n);
}
static void *by_memalign(size_t n)
{
    return fn.memalign(32, n);
}
static void *by_valloc(size_t n)
{
    return fn.valloc(n);
}
static void *by_pvalloc(size_t n)
{
    return fn.pvalloc(n);
}
static void *by_mallocx(size_t n)
{
    return fn.mallocx(n, 0);
}
static void *by_mallocx_zero(size_t n)
{
    return fn.mallocx(n, 5 | MALLOCX_ZERO);
}

static void *by_posix_memalign(size_t n)
{
    void *block = NULL;
    int error = fn.posix_memalign(&block, sizeof(void *), n);
    if (error != 0) {
        CHECK(block == NULL, "size %zu", n);
        errno = error;
    }
    return block;
}

struct way {
    const char *name;
    void *(*get)(size_t);
    const void *needs;
    size_t align; /* that free_aligned_sized and sdallocx are told; 0: they are not to be used */
};
static struct way ways[13];
static unsigned way_count;

static void add_way(const char *name, void *(*get)(size_t), const void *needs, size_t align)
{
    if (needs != NULL)
        ways[way_count++] = (struct way){name, get, needs, align};
}

#define WAY(function, needs, align) add_way(#function, function, (const void *)fn.needs, align)

static void prepare(void)
{
    page = (size_t)sysconf(_SC_PAGESIZE);
    size_count = list_sizes(sizes, MOST_SIZES, 4 * MIB);
    WAY(by_malloc, malloc, 16);
    WAY(by_calloc, calloc, 16);
    WAY(by_calloc_items, calloc, 16);
    WAY(by_realloc, realloc, 16);
    WAY(by_reallocarray, reallocarray, 16);
    WAY(by_reallocf, reallocf, 16);
    WAY(by_aligned_alloc, aligned_alloc, 64);
    WAY(by_memalign, memalign, 32);
    WAY(by_valloc, valloc, page);
    WAY(by_pvalloc, pvalloc, 0);
    WAY(by_mallocx, mallocx, 16);
    WAY(by_mallocx_zero, mallocx, 32);
    WAY(by_posix_memalign, posix_memalign, 16);
}

/* Free a block in the turn-th way that knows it; sized ways are told the size that was asked for. */
static void give_back(void *block, const struct way *way, size_t size, unsigned turn)
{
    int lg_align = way->align != 0 ? __builtin_ctzl(way->align) : 0;
    switch (turn % 8) {
    case 0:
        if (fn.cfree != NULL) {
            fn.cfree(block);
            return;
        }
        break;
    case 1:
        CHECK(fn.realloc(block, 0) == NULL, "%s(%zu)", way->name, size);
        return;
    case 2:
        if (fn.free_sized != NULL && way->align == 16) {
            fn.free_sized(block, size);
            return;
        }
        break;
    case 3:
        if (fn.free_aligned_sized != NULL && way->align != 0) {
            fn.free_aligned_sized(block, way->align, size);
            return;
        }
        break;
    case 4:
        if (fn.dallocx != NULL) {
            fn.dallocx(block, 0);
            return;
        }
        break;
    case 5:
        if (fn.sdallocx != NULL && way->align != 0) {
            fn.sdallocx(block, size, lg_align);
            return;
        }
        break;
    default:
        break;
    }
    fn.free(block);
}

#endif
