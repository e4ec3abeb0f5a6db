/* ace_account.h - how ACE writes the account of its classes: every writer of such a count holds the class's lock, so
 * that a load and a store do, and readers (any, without the lock) see no torn number. Failures alone are added
 * atomically. */
#ifndef HK_ACE_ACCOUNT_H
#define HK_ACE_ACCOUNT_H

#include "account.h"
#include "base.h"

/* How often a class tells its account to whoever watches cache_report, at the most. */
#define ACE_REPORT_MS 100u

/* What the last report had told. */
struct ace_report {
    uint64_t stamp_ms; /* lock: class; so all of it */
    uint64_t allocs, misses;
};

static inline void ace_count(uint64_t *count, uint64_t n)
{
    atomic_store_relaxed(count, *count + n);
}

static inline void ace_uncount(uint64_t *count, uint64_t n)
{
    atomic_store_relaxed(count, *count - n);
}

static inline void ace_count_alloc(struct hk_class_account *account, size_t bytes)
{
    ace_count(&account->allocs, 1);
    ace_count(&account->alloc_bytes, bytes);
}

static inline void ace_count_free(struct hk_class_account *account, size_t bytes)
{
    ace_count(&account->frees, 1);
    ace_count(&account->free_bytes, bytes);
}

/* An allocation that no cache served; hits: how many were, since the one before. */
static inline void ace_count_miss(struct hk_class_account *account, enum hk_server server, uint64_t hits)
{
    ace_count(&account->misses, 1);
    ace_count(&account->refills[server], 1);
    ace_count(&account->refill_blocks[server], 1);
    ace_count(&account->hits_per_miss[account_hits_bucket(hits)], 1);
}

/* Whether it is time for a report. True: account and *report are written, and ace_report_fire() is to follow once the
 * class's lock is free again. */
HK_HIDDEN bool ace_report_due(struct hk_class_account *account, struct ace_report *report, uint64_t now_ms);

/* Whether there is something to report, by a look without the lock. */
HK_HIDDEN bool ace_report_pending(const struct hk_class_account *account, const struct ace_report *report);
HK_HIDDEN void ace_report_fire(unsigned class_idx);

#endif
