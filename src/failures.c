/* failures.c - see failures.h. */
#include "failures.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "size_class.h"

#define TRACE_NS UINT64_C(10000000)   /* between two stacks */
#define LIMIT_NS UINT64_C(1000000000) /* between two looks for the limit */

struct hk_recorder hk_recorder = {.version = HK_RECORDER_VERSION, .length = sizeof hk_recorder};

static uint64_t next_trace_ns, next_limit_ns;  /* any */
static uint32_t last_limit = OS_LIMIT_UNKNOWN; /* any: as it was found */

/* Whether the time has come; if so, none has come for the next `ns`. */
static bool is_due(uint64_t *next_ns, uint64_t now_ns, uint64_t ns)
{
    uint64_t next = atomic_load_relaxed(next_ns);
    return now_ns >= next && atomic_cas_acq_rel(next_ns, &next, now_ns + ns);
}

/* The entry for one more failure of a kind, being written; NULL: another thread is still at it. */
static struct hk_failure *begin(enum hk_failure_kind kind, uint64_t *n)
{
    *n = atomic_add_relaxed(&hk_recorder.counts[kind], 1);
    struct hk_failure *entry = &hk_recorder.kept[kind][*n % HK_RECORDER_KEPT];
    uint64_t before = atomic_load_relaxed(&entry->sequence);
    /* What is written afterwards is not seen before the odd sequence. */
    bool ours = before % 2 == 0 && before <= 2 * *n && atomic_cas_acq_rel(&entry->sequence, &before, 2 * *n + 1);
    return ours ? entry : NULL;
}

static void end(struct hk_failure *entry, uint64_t n)
{
    atomic_store_release(&entry->sequence, 2 * n + 2); /* pairs with failures_read() */
}

static enum os_limit limit_of(size_t size, uint64_t now_ns)
{
    if (size > PTRDIFF_MAX)
        return OS_LIMIT_NONE;
    if (is_due(&next_limit_ns, now_ns, LIMIT_NS))
        atomic_store_relaxed(&last_limit, (uint32_t)os_limit_hit(size, ENOMEM));
    return (enum os_limit)atomic_load_relaxed(&last_limit);
}

void failures_add_null(size_t size, enum os_limit limit)
{
    uint64_t n, now_ns = os_now_ns();
    int saved = errno;
    struct hk_failure *entry = begin(FAILURE_NULL, &n);
    if (entry == NULL)
        return;
    entry->time_ns = now_ns;
    entry->size = size;
    entry->class_idx = hk_class_of_size(size);
    entry->error = ENOMEM;
    entry->limit = limit != OS_LIMIT_UNASKED ? limit : limit_of(size, now_ns);
    entry->reason = 0;
    entry->trace.depth = 0;
    entry->trace.tid = (uint32_t)syscall(SYS_gettid);
    if (is_due(&next_trace_ns, now_ns, TRACE_NS))
        trace_take(&entry->trace, 0, false);
    end(entry, n);
    errno = saved;
}

void failures_add_fallback(unsigned class_idx, enum hk_shared_fail reason, int error)
{
    uint64_t n;
    struct hk_failure *entry = begin(FAILURE_FALLBACK, &n);
    if (entry == NULL)
        return;
    entry->time_ns = os_now_ns();
    entry->size = hk_class_size[class_idx];
    entry->class_idx = class_idx;
    entry->error = (uint32_t)error;
    entry->limit = error != 0 ? OS_LIMIT_UNKNOWN : OS_LIMIT_NONE;
    entry->reason = reason;
    entry->trace.depth = 0;
    end(entry, n);
}

bool failures_read(enum hk_failure_kind kind, unsigned n, struct hk_failure *out)
{
    uint64_t count = atomic_load_relaxed(&hk_recorder.counts[kind]);
    if (n >= count || n >= HK_RECORDER_KEPT)
        return false;
    struct hk_failure *entry = &hk_recorder.kept[kind][(count - 1 - n) % HK_RECORDER_KEPT];
    uint64_t before = atomic_load_acquire(&entry->sequence);
    memcpy(out, entry, sizeof *out);
    /* Adding nothing, for its release: the copy was read before. */
    return before != 0 && before % 2 == 0 && __atomic_fetch_add(&entry->sequence, 0, __ATOMIC_ACQ_REL) == before;
}

void failures_after_fork(void)
{
    memset(hk_recorder.counts, 0, sizeof hk_recorder.counts);
    memset(hk_recorder.kept, 0, sizeof hk_recorder.kept);
    next_trace_ns = next_limit_ns = 0;
}
