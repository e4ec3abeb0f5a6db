/* account.h - the process-wide account: totals per class since the process's generation began. Cold: written by slow paths
 * alone, read by everybody (mallinfo2, malloc_info, and, from outside, BPF programs that copy a struct whole).
 *
 * Identities, exact whenever no thread cache holds an unsettled count:
 *   live blocks of class c  =  inherited + allocs - frees
 *   misses  =  sum of refills over the servers  +  misses that failed
 *   sum over hits_per_miss  =  misses                                                        */
#ifndef HK_ACCOUNT_H
#define HK_ACCOUNT_H

#include "base.h"
#include "os_account.h"
#include "size_class.h"

#define HK_ACCOUNT_VERSION 1u

/* Who served a refill. The first two are slabs that the class already held: their share of all is the SuperSlab hit rate. */
enum hk_server { SERVED_CHAIN, SERVED_SLAB, SERVED_EMPTY_SLAB, SERVED_SUPERSLAB, SERVED_LEGACY, HK_SERVERS };

enum hk_drain_reason { DRAIN_OVERFLOW, DRAIN_EXIT, DRAIN_TRIM, DRAIN_IDLE, DRAIN_FORK, HK_DRAIN_REASONS };

/* Why the shared pool could not deliver. */
enum hk_shared_fail { SHARED_FAIL_CAP, SHARED_FAIL_REGION, SHARED_FAIL_KERNEL, HK_SHARED_FAILS };

enum hk_ace_fail { ACE_THRESHOLD, ACE_EXHAUSTION, ACE_MAPFAIL, HK_ACE_FAILS };

#define HK_HITS_BUCKETS 33u  /* bucket b: 0 hits for b = 0, else 2^(b-1) <= hits < 2^b */
#define HK_RATE_BUCKETS 101u /* per cent, 0..100 */

/* All fields any: 64-bit, added to atomically. Its layout is an ABI: a reader checks `version` and `length`. */
struct hk_class_account {
    uint32_t version; /* HK_ACCOUNT_VERSION */
    uint32_t length;  /* sizeof(struct hk_class_account) */
    uint32_t class_idx;
    uint32_t block_size; /* bytes; 0: huge */
    uint64_t generation; /* of the process: changes in a child of fork */
    uint64_t inherited;  /* blocks that were live when the generation began */
    uint64_t allocs;
    uint64_t frees;
    uint64_t alloc_bytes; /* in block sizes; for the huge class what the blocks really are */
    uint64_t free_bytes;
    uint64_t inherited_bytes;
    uint64_t misses; /* the thread cache (or, above 32 KiB, ACE's cache) had nothing */
    uint64_t ticks;  /* slow entries of malloc that found a block: the budget had run out */
    uint64_t reports;
    uint64_t refills[HK_SERVERS];
    uint64_t refill_blocks[HK_SERVERS];
    uint64_t drains[HK_DRAIN_REASONS];
    uint64_t drain_blocks[HK_DRAIN_REASONS];
    uint64_t shared_fails[HK_SHARED_FAILS];
    uint64_t legacy_allocs, legacy_frees;
    uint64_t ace_fails[HK_ACE_FAILS];
    uint64_t alloc_fails;
    uint64_t cap_blocks;    /* ACE: the most blocks that the class's pool keeps; absolute */
    uint64_t cached_blocks; /* in the pool, free; absolute */
    uint64_t slabs;         /* that the class holds (large: blocks' runs); absolute */
    uint64_t slab_blocks;   /* blocks that those slabs have in all; absolute */
    uint64_t hits_per_miss[HK_HITS_BUCKETS];
    uint64_t hit_rate[HK_RATE_BUCKETS];
};

/* Process-wide capacity; absolute numbers, any. */
struct hk_capacity {
    uint64_t superslabs; /* mapped now */
    uint64_t superslabs_peak;
    uint64_t units_free_dirty; /* units in no slab whose pages may be resident */
    uint64_t units_used;
    uint64_t legacy_chunks;
    uint64_t huge_blocks, huge_bytes; /* live */
    uint64_t huge_cached, huge_cached_bytes;
    uint64_t threads;
};

/* Where the region and its tables lie, for a reader from outside; const: after region_init(); 0: there is no region. */
struct hk_region_account {
    uint64_t base;
    uint64_t units;      /* of HK_UNIT_SIZE; fewer once a tail was given back */
    uint64_t map;        /* address of the slab map: an int32_t a unit, where its bin lies in every thread */
    uint64_t superslabs; /* address of the table of struct superslab's addresses, by index in the region */
    uint64_t tables;     /* bytes of the mapping that begins with the slab map: of all the region's tables */
};

/* Where the tables lie that a reader from outside needs to tell each page's use (layout.h); const: after heap_init(). All addresses. */
struct hk_layout {
    uint32_t version;     /* HK_LAYOUT_VERSION; 0: before heap_init() */
    uint32_t length;      /* sizeof(struct hk_layout) */
    uint64_t digest;      /* layout_digest(): of a reader that was built of other sources it is another */
    uint64_t secret;      /* hk_secret */
    uint64_t threads;     /* of the pointer to the first struct hk_thread */
    uint64_t outer_root;  /* outer_map.h: its root */
    uint64_t meta_chunks; /* of the pointer to the first struct meta_chunk */
    uint64_t guard_base;  /* of the address of the guarded slots' pages */
    uint64_t guard_slots; /* of the address of the table of struct guard_slot */
    uint64_t quarantine;  /* quarantine.h: its shards */
    uint64_t failures;    /* failures.h: the flight recorder */
    uint64_t fork_token;  /* of the page that a child finds wiped */
};

/* All of it, as a reader from outside finds it: what cache_report points to is classes[class_idx]. */
struct hk_process_account {
    struct hk_class_account classes[HK_ACCOUNT_CLASSES];
    struct hk_capacity capacity;
    const struct os_account *os; /* const: after account_init() */
    struct hk_region_account region;
    struct hk_layout layout;
};
extern HK_HIDDEN struct hk_process_account hk_account;

HK_HIDDEN void account_init(void);

/* A child of fork: the generation changes, counts start at 0, what is live becomes inherited. */
HK_HIDDEN void account_new_generation(void);

HK_HIDDEN uint64_t account_generation(void);

static inline void account_add(uint64_t *count, uint64_t n)
{
    if (n != 0)
        atomic_add_relaxed(count, n);
}

static inline unsigned account_hits_bucket(uint64_t hits)
{
    unsigned b = hits == 0 ? 0 : 64u - (unsigned)__builtin_clzll(hits);
    return b < HK_HITS_BUCKETS ? b : HK_HITS_BUCKETS - 1;
}

#endif
