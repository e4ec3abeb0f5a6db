/* hakmem.h - the public interface of hakmem, besides the standard one (malloc and its family, operator new and delete).
 *
 * A program needs none of it to run on hakmem. It is for programs that want to know which allocator serves them, to read
 * its account, or to give memory back at a moment of their own choosing. */
#ifndef HAKMEM_H
#define HAKMEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HK_VERSION_MAJOR 0
#define HK_VERSION_MINOR 1
#define HK_VERSION_PATCH 0
#define HK_VERSION "0.1.0"

#define HK_STATS_VERSION 1u

/* The whole process. Bytes of blocks are in block sizes, that is, what malloc_usable_size tells, not what was asked for.
 *
 *   mapped_bytes = live_bytes + free_bytes + meta_bytes        live_blocks = sum of the classes' live_blocks
 *
 * Fields are only ever added at the end, and `version` then stays; `length` says how many bytes the library filled. */
struct hk_stats {
    uint32_t version; /* HK_STATS_VERSION */
    uint32_t length;
    uint64_t generation; /* of the process: another one in a child of fork */
    uint64_t allocs;     /* since the generation began, as the next two */
    uint64_t frees;
    uint64_t misses; /* allocations that a cache could not serve */
    uint64_t live_blocks;
    uint64_t live_bytes;
    uint64_t huge_blocks; /* of the live ones, those that are a mapping of their own */
    uint64_t huge_bytes;
    uint64_t free_blocks; /* in caches, pools and slabs */
    uint64_t free_bytes;  /* those, and memory in no slab */
    uint64_t pool_blocks; /* of the free blocks, those that wait in a pool for the next request */
    uint64_t pool_bytes;
    uint64_t trimmable_bytes; /* what hk_trim() is certain to find */
    uint64_t mapped_bytes;    /* readable and writable, resident or not */
    uint64_t mapped_peak_bytes;
    uint64_t reserved_bytes; /* address space without memory */
    uint64_t meta_bytes;     /* hakmem's own tables */
    uint64_t purged_bytes;   /* given back to the system so far */
    uint64_t superslabs;     /* of 2 MiB */
    uint64_t legacy_chunks;  /* what serves when no SuperSlab can be had */
    uint64_t threads;        /* that have a cache */
    uint64_t fallbacks;      /* requests for memory that the shared pool passed on to legacy */
    uint64_t ace_fails[3];   /* Threshold, Exhaustion, MapFail */
    uint64_t alloc_fails;    /* NULL with ENOMEM was returned */
};

/* One size class. Counts as in struct hk_stats. */
struct hk_class_stats {
    uint32_t version; /* HK_STATS_VERSION */
    uint32_t length;
    uint32_t class_idx;
    uint32_t block_size; /* bytes; 0: the last class, of blocks that are mappings of their own */
    uint64_t allocs;
    uint64_t frees;
    uint64_t misses;
    uint64_t live_blocks;
    uint64_t live_bytes;
    uint64_t free_blocks;
    uint64_t pool_blocks;
    uint64_t pool_cap_blocks; /* the most that the pool keeps; 0: no bound of its own */
    uint64_t slabs;
    uint64_t refills;      /* of caches, from whatever tier */
    uint64_t refills_held; /* of those, from slabs that the class already held */
    uint64_t drains;       /* batches that left a cache */
    uint64_t drain_blocks;
    uint64_t fallbacks;
    uint64_t ace_fails[3];
    uint64_t alloc_fails;
};

/* The version of the library that is loaded, "MAJOR.MINOR.PATCH"; HK_VERSION is that of the header.
 * Returns a constant string. Thread-safe and async-signal-safe. */
const char *hk_version(void);

/* Fill *out with the process's totals: exact for the calling thread and for every thread that has ended; another running
 * thread's last few thousand allocations may be missing.
 * size: sizeof *out, at least 8 bytes. A caller built for a shorter struct gets its part; what a longer one has besides is
 * zeroed.
 * Returns 0, or -1 with errno EINVAL when size is below 8. Thread-safe; not async-signal-safe. */
int hk_stats(struct hk_stats *out, size_t size);

/* Fill *out with the totals of one class.
 * class_idx: 0, 1, ... in order of block size. size: as in hk_stats.
 * Returns 0, or -1 with errno EINVAL when there is no such class (the loop over all ends here) or size is below 8.
 * Thread-safe; not async-signal-safe. */
int hk_class_stats(unsigned class_idx, struct hk_class_stats *out, size_t size);

/* Drain the calling thread's cache and give all free memory that is held centrally back to the system now. Memory goes back
 * by itself when it has waited for a while; this is for a program that knows it will be idle.
 * Returns the bytes given back. Keeps errno. Thread-safe; not async-signal-safe. */
size_t hk_trim(void);

/* Write to `fd` what the process holds and what failed last, in words: live and free bytes, the size classes that hold most, and the last
 * requests that got NULL, with errno, the limit that was hit and the stack, as kept in the process. For a program's own handling of
 * a NULL; HAKMEM_CONF=oom_report:1 does it by itself at the first.
 * fd: a descriptor open for writing; what can't be written is dropped. Each line is one write(2). Allocates nothing, keeps errno.
 * Thread-safe; not async-signal-safe. */
void hk_oom_report(int fd);

/* Write the configuration in force, as HAKMEM_CONF would have it ("key:value,key:value"), into buf.
 * size: of buf in bytes; what does not fit is cut off, and the text always ends with a NUL when size > 0.
 * Returns the length written, without the NUL. Thread-safe. */
size_t hk_config_text(char *buf, size_t size);

#ifdef __cplusplus
}
#endif

#endif
