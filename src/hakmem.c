/* hakmem.c - the public functions of hakmem.h. */
#include "hakmem.h"

#include "account.h"
#include "config.h"
#include "heap.h"
#include "oom_report.h"
#include "statistics.h"

#include <errno.h>
#include <string.h>

HK_EXPORT const char *hk_version(void)
{
    return HK_VERSION;
}

/* Hand the caller as much of a snapshot as its struct has room for. */
static int copy_snapshot(void *out, size_t size, const void *snapshot, size_t length)
{
    memcpy(out, snapshot, size < length ? size : length);
    if (size > length)
        memset((char *)out + length, 0, size - length);
    return 0;
}

static int invalid(void)
{
    errno = EINVAL;
    return -1;
}

#define SNAPSHOT_HEADER 8 /* version and length: the least that a caller's struct has */

HK_EXPORT int hk_stats(struct hk_stats *out, size_t size)
{
    struct hk_stats snapshot;
    if (size < SNAPSHOT_HEADER)
        return invalid();
    statistics_of_process(&snapshot);
    return copy_snapshot(out, size, &snapshot, sizeof snapshot);
}

HK_EXPORT int hk_class_stats(unsigned class_idx, struct hk_class_stats *out, size_t size)
{
    struct hk_class_stats snapshot;
    if (class_idx >= HK_ACCOUNT_CLASSES || size < SNAPSHOT_HEADER)
        return invalid();
    statistics_of_class(class_idx, &snapshot);
    return copy_snapshot(out, size, &snapshot, sizeof snapshot);
}

HK_EXPORT size_t hk_trim(void)
{
    return heap_trim(0);
}

HK_EXPORT void hk_oom_report(int fd)
{
    heap_init();
    oom_report_write(fd);
}

HK_EXPORT size_t hk_config_text(char *buf, size_t size)
{
    config_init();
    return config_format(buf, size);
}
