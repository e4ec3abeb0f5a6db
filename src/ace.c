/* ace.c - ACE's face: which engine serves a request, the failures, and the line that tells one. */
#include "ace.h"

#include <errno.h>

#include "../probes/probe.h"
#include "ace_account.h"
#include "ace_huge.h"
#include "ace_large.h"
#include "canary.h"
#include "config.h"
#include "failure_text.h"
#include "os.h"
#include "outer_map.h"
#include "superslab.h"

static void *serve(size_t size, size_t align, bool zero)
{
    size_t asked = size;
    if (hk_unlikely(size <= HK_CACHED_MAX))
        size = HK_CACHED_MAX + 1;
    unsigned class_idx = hk_class_of_size(size);
    if (hk_unlikely(size > hk_config.ace_limit || align > HK_SUPERSLAB_SIZE)) {
        ace_fail(class_idx, asked, ACE_THRESHOLD, 0);
        return ace_huge_alloc(class_idx, size, align, zero, false);
    }
    if (class_idx < HK_CLASS_HUGE) {
        int error = 0, saved = errno;
        void *block = ace_large_alloc(class_idx, asked, align, zero, &error);
        if (hk_likely(block != NULL))
            return block;
        errno = saved;
        ace_fail(class_idx, asked, ACE_EXHAUSTION, error);
    }
    return ace_huge_alloc(class_idx, size, align, zero, true);
}

static size_t block_size_at(const void *block)
{
    const struct slab *run = superslab_find(block);
    return run != NULL ? ace_usable_large(run, block) : ace_usable_huge(outer_map_find(block).owner, block);
}

void *ace_alloc(size_t size, size_t align, bool zero)
{
    if (hk_likely(hk_config.harden == 0))
        return serve(size, align, zero);
    void *block = serve(size + CANARY_BYTES, align, zero);
    if (block != NULL)
        canary_seal(block, block_size_at(block), size);
    return block;
}

size_t ace_decay(uint64_t now_ms, uint64_t age_ms)
{
    return ace_large_decay(now_ms, age_ms) + ace_huge_decay(now_ms, age_ms);
}

size_t ace_cached_bytes(void)
{
    return ace_large_cached_bytes() + ace_huge_cached_bytes();
}

/* ---- failures ---- */

static const char *const failure_names[HK_ACE_FAILS] = {"Threshold", "Exhaustion", "MapFail"};

void ace_fail(unsigned class_idx, size_t size, enum hk_ace_fail failure, int error)
{
    uint64_t fails = atomic_add_relaxed(&hk_account.classes[class_idx].ace_fails[failure], 1) + 1;
    if (!HK_PROBE_ON(ace_fail) && !hk_config.ace_trace)
        return;
    int saved = errno;
    enum os_limit limit = failure == ACE_MAPFAIL ? os_limit_hit(size, error) : OS_LIMIT_NONE;
    HK_PROBE_FIRE(ace_fail, class_idx, size, failure, error, limit, fails);
    if (hk_config.ace_trace) {
        struct failure_text name = failure_class(class_idx), cause = failure_errno(error);
        os_message("hakmem: ACE %s: %zu bytes (class %s)%s%s%s\n", failure_names[failure], size, name.chars,
                   cause.chars, failure == ACE_MAPFAIL ? ", limit " : "",
                   failure == ACE_MAPFAIL ? failure_limit(limit) : "");
    }
    errno = saved;
}

void ace_trace_shared_fail(unsigned class_idx, enum hk_shared_fail reason, int error)
{
    if (!hk_config.ace_trace)
        return;
    struct failure_text name = failure_class(class_idx), cause = failure_errno(error);
    os_message("hakmem: shared_fail -> legacy: class %s, reason %s%s\n", name.chars, failure_reason(reason),
               cause.chars);
}

/* ---- reports ---- */

bool ace_report_pending(const struct hk_class_account *account, const struct ace_report *report)
{
    return atomic_load_relaxed(&account->allocs) != atomic_load_relaxed(&report->allocs);
}

bool ace_report_due(struct hk_class_account *account, struct ace_report *report, uint64_t now_ms)
{
    if (!ace_report_pending(account, report) || now_ms < report->stamp_ms + ACE_REPORT_MS)
        return false;
    if (account->allocs < report->allocs) /* a child of fork begins again */
        report->allocs = report->misses = 0;
    uint64_t allocs = account->allocs - report->allocs, misses = account->misses - report->misses;
    report->stamp_ms = now_ms;
    atomic_store_relaxed(&report->allocs, account->allocs);
    report->misses = account->misses;
    if (allocs == 0 || misses > allocs)
        return false;
    ace_count(&account->reports, 1);
    ace_count(&account->hit_rate[100 * (allocs - misses) / allocs], 1);
    return true;
}

void ace_report_fire(unsigned class_idx)
{
    struct hk_class_account *account = &hk_account.classes[class_idx];
    HK_PROBE_FIRE(cache_report, class_idx, account, account_generation(), sizeof *account);
}

/* ---- life ---- */

void ace_init(void)
{
    ace_large_init();
    ace_huge_init();
}

void ace_before_fork(void)
{
    ace_large_before_fork();
    ace_huge_before_fork();
}

void ace_after_fork(bool raw)
{
    ace_huge_after_fork(raw);
    ace_large_after_fork(raw);
}
