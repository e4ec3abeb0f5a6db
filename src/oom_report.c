/* oom_report.c - see oom_report.h. */
#include "oom_report.h"

#include <errno.h>
#include <unistd.h>

#include "config.h"
#include "failure_text.h"
#include "failures.h"
#include "statistics.h"

#define CLASSES_SHOWN 5u
#define NULLS_SHOWN 4u
#define FALLBACKS_SHOWN 2u

static void write_totals(int fd, const struct hk_stats *stats)
{
    os_message_to(fd, "hakmem: live: %llu bytes in %llu blocks, %llu of them in %llu huge ones\n",
                  (unsigned long long)stats->live_bytes, (unsigned long long)stats->live_blocks,
                  (unsigned long long)stats->huge_bytes, (unsigned long long)stats->huge_blocks);
    os_message_to(fd,
                  "hakmem: mapped: %llu bytes: live, free %llu (%llu of it can be trimmed, %llu wait in ACE's pools), "
                  "metadata %llu\n",
                  (unsigned long long)stats->mapped_bytes, (unsigned long long)stats->free_bytes,
                  (unsigned long long)stats->trimmable_bytes, (unsigned long long)stats->pool_bytes,
                  (unsigned long long)stats->meta_bytes);
    os_message_to(
        fd, "hakmem: reserved: %llu bytes of addresses; %llu SuperSlabs, %llu chunks of the fallback, %llu threads\n",
        (unsigned long long)stats->reserved_bytes, (unsigned long long)stats->superslabs,
        (unsigned long long)stats->legacy_chunks, (unsigned long long)stats->threads);
}

/* The classes that hold most, the greatest first; found one by one, since nothing can be kept to sort. */
static void write_classes(int fd)
{
    uint64_t below = UINT64_MAX;
    unsigned last = HK_ACCOUNT_CLASSES;
    for (unsigned shown = 0; shown < CLASSES_SHOWN; shown++) {
        struct hk_class_stats most = {0}, one;
        for (unsigned c = 0; c < HK_ACCOUNT_CLASSES; c++) {
            statistics_of_class(c, &one);
            bool comes_later = one.live_bytes < below || (one.live_bytes == below && c > last);
            if (comes_later && one.live_bytes > most.live_bytes)
                most = one;
        }
        if (most.live_bytes == 0)
            return;
        below = most.live_bytes;
        last = most.class_idx;
        os_message_to(fd, "hakmem: class %s: %llu bytes live in %llu blocks, %llu blocks free\n",
                      failure_class(most.class_idx).chars, (unsigned long long)most.live_bytes,
                      (unsigned long long)most.live_blocks, (unsigned long long)most.free_blocks);
    }
}

static void write_failure(int fd, enum hk_failure_kind kind, const struct hk_failure *failure)
{
    struct failure_text class = failure_class(failure->class_idx), cause = failure_errno((int)failure->error);
    unsigned long long ago_ms = (os_now_ns() - failure->time_ns) / 1000000;
    if (kind == FAILURE_NULL)
        os_message_to(fd, "hakmem: NULL %llu ms ago: %zu bytes (class %s)%s, limit %s, thread %u\n", ago_ms,
                      (size_t)failure->size, class.chars, cause.chars, failure_limit(failure->limit),
                      failure->trace.tid);
    else
        os_message_to(fd, "hakmem: fallback %llu ms ago: class %s, reason %s%s\n", ago_ms, class.chars,
                      failure_reason(failure->reason), cause.chars);
    if (failure->trace.depth != 0)
        trace_write(fd, &failure->trace);
}

static void write_failures(int fd, enum hk_failure_kind kind, const char *text, unsigned most)
{
    struct hk_failure failure;
    uint64_t count = atomic_load_relaxed(&hk_recorder.counts[kind]);
    if (count == 0)
        return;
    os_message_to(fd, "hakmem: %s %llu times; the last of them:\n", text, (unsigned long long)count);
    for (unsigned n = 0; n < most; n++)
        if (failures_read(kind, n, &failure))
            write_failure(fd, kind, &failure);
}

void oom_report_write(int fd)
{
    static const struct {
        const char *text;
        unsigned most;
    } kinds[HK_FAILURE_KINDS] = {
#define HK_FAILURE(name, text) [FAILURE_##name] = {text, name##S_SHOWN},
#include "failures.def"
#undef HK_FAILURE
    };
    struct hk_stats stats;
    int saved = errno;
    statistics_of_process(&stats);
    write_totals(fd, &stats);
    write_classes(fd);
    for (unsigned kind = 0; kind < HK_FAILURE_KINDS; kind++)
        write_failures(fd, (enum hk_failure_kind)kind, kinds[kind].text, kinds[kind].most);
    errno = saved;
}

void oom_report_first(void)
{
    static uint32_t told; /* any */
    uint32_t not_yet = 0;
    if (hk_config.oom_report == 0 || !atomic_cas_acq_rel(&told, &not_yet, 1))
        return;
    os_message("hakmem: memory was refused for the first time; what the process holds:\n");
    oom_report_write(STDERR_FILENO);
}
