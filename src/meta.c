/* meta.c - metadata: cut from chunks that are never given back.
 *
 *   headers + used + free in the lists + rests of the chunks = mapped
 *
 * Every change of the lists and of the chunk is one store of a pointer or a count: the child of a raw clone, which finds
 * another thread half way through, loses a piece at most.                                                              */
#include "meta.h"

#include <errno.h>
#include <string.h>

#include "lock.h"
#include "os.h"

#define META_CHUNK ((size_t)256 << 10)
#define META_CHUNK_MOST \
    ((size_t)16 << 20) /* an eighth of what is mapped up to that: each costs two mappings (max_map_count) */
#define META_HEADER hk_align_up(sizeof(struct meta_chunk), HK_CACHE_LINE)
#define META_PURGE_PAGES 2u /* fewer whole pages are not worth a system call */

/* A freed piece. The sizes are a list by themselves: the first piece of each size is in it. */
struct meta_piece {
    struct meta_piece *next;      /* lock: meta; of the same size */
    struct meta_piece *next_size; /* lock: meta; the first piece of another size; only in a first piece */
    size_t size;
    bool purged; /* the whole pages behind this header read as zeros */
};

_Static_assert(META_SIZE_MAX <= META_CHUNK / 4, "at most a quarter of a chunk is left over when the next is begun");

struct meta_chunk *meta_chunks;
static struct hk_lock meta_lock = HK_LOCK_FREE;
static struct meta_piece *free_sizes; /* lock: meta */
static char *chunk_end;               /* lock: meta */
static size_t chunk_left;             /* lock: meta; bytes before chunk_end that are not yet cut */
static size_t mapped_bytes;           /* any */
static size_t used_bytes;             /* any */

/* What a request takes: whole cache lines. */
static size_t piece_size(size_t size)
{
    return size == 0 ? HK_CACHE_LINE : hk_align_up(size, HK_CACHE_LINE);
}

static struct meta_piece *take_freed(size_t size)
{
    struct meta_piece **link = &free_sizes;
    while (*link != NULL && (*link)->size != size)
        link = &(*link)->next_size;
    struct meta_piece *piece = *link;
    if (piece == NULL)
        return NULL;
    if (piece->next != NULL) {
        piece->next->next_size = piece->next_size;
        atomic_store_release(link, piece->next);
    } else {
        atomic_store_release(link, piece->next_size);
    }
    return piece;
}

static void keep_freed(struct meta_piece *piece)
{
    struct meta_piece **link = &free_sizes;
    while (*link != NULL && (*link)->size != piece->size)
        link = &(*link)->next_size;
    piece->next = *link;
    piece->next_size = *link == NULL ? NULL : (*link)->next_size;
    atomic_store_release(link, piece);
}

static bool map_chunk(size_t len)
{
    struct meta_chunk *chunk = os_map(len, os_page_size, OS_META);
    if (chunk == NULL)
        return false;
    atomic_add_relaxed(&mapped_bytes, len);
    *chunk = (struct meta_chunk){meta_chunks, len};
    atomic_store_release(&meta_chunks, chunk);
    atomic_store_release(&chunk_left, 0);
    atomic_store_release(&chunk_end, (char *)chunk + len);
    atomic_store_release(&chunk_left, len - META_HEADER);
    return true;
}

static void *cut(size_t size)
{
    if (size > chunk_left) {
        size_t eighth = hk_align_down(mapped_bytes / 8, META_CHUNK),
               len = eighth < META_CHUNK_MOST ? eighth : META_CHUNK_MOST;
        if (!(len > META_CHUNK && map_chunk(len)) && !map_chunk(META_CHUNK))
            return NULL;
    }
    void *ptr = chunk_end - chunk_left;
    atomic_store_release(&chunk_left, chunk_left - size);
    return ptr;
}

/* The whole pages of a piece behind its header. Returns their length, 0 when they aren't worth purging. */
static size_t whole_pages(const void *ptr, size_t size, char **pages)
{
    uintptr_t from = hk_align_up((uintptr_t)ptr + sizeof(struct meta_piece), os_page_size);
    uintptr_t to = hk_align_down((uintptr_t)ptr + size, os_page_size);
    *pages = (char *)from;
    return to >= from + META_PURGE_PAGES * os_page_size ? to - from : 0;
}

/* Pages that were purged stay untouched: a big table costs what is used of it. */
static void clear(struct meta_piece *piece, size_t size)
{
    char *ptr = (char *)piece, *pages;
    size_t len = piece->purged ? whole_pages(ptr, size, &pages) : 0;
    if (len == 0) {
        memset(ptr, 0, size);
        return;
    }
    memset(ptr, 0, (size_t)(pages - ptr));
    memset(pages + len, 0, (size_t)(ptr + size - (pages + len)));
}

void *meta_alloc(size_t size)
{
    if (size > META_SIZE_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    size = piece_size(size);
    hk_lock(&meta_lock);
    struct meta_piece *freed = take_freed(size);
    void *ptr = freed != NULL ? freed : cut(size);
    hk_unlock(&meta_lock);
    if (freed != NULL)
        clear(freed, size);
    if (ptr != NULL)
        atomic_add_relaxed(&used_bytes, size);
    else
        errno = ENOMEM;
    return ptr;
}

void meta_free(void *ptr, size_t size)
{
    if (ptr == NULL)
        return;
    int saved = errno;
    size = piece_size(size);
    atomic_sub_relaxed(&used_bytes, size);
    char *pages;
    size_t len = whole_pages(ptr, size, &pages);
    struct meta_piece *piece = ptr;
    piece->purged = len != 0 && os_purge(pages, len);
    piece->size = size;
    hk_lock(&meta_lock);
    keep_freed(piece);
    hk_unlock(&meta_lock);
    errno = saved;
}

size_t meta_mapped(void)
{
    return atomic_load_relaxed(&mapped_bytes);
}

size_t meta_used(void)
{
    return atomic_load_relaxed(&used_bytes);
}

void meta_before_fork(void)
{
    hk_lock(&meta_lock);
}

void meta_after_fork(bool raw_child)
{
    if (raw_child)
        hk_lock_reset(&meta_lock);
    else
        hk_unlock(&meta_lock);
}
