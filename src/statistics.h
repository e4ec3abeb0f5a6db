/* statistics.h - what the account says, in the forms that programs ask for. The numbers are computed in one place, class by
 * class, so that mallinfo2, malloc_info, malloc_stats, hk_stats and hk_class_stats can't disagree:
 *
 *   total = sum of the classes + process-wide capacity        mapped = live + free + meta
 *
 * Every text here is formatted without allocating, a line at a time. */
#ifndef HK_STATISTICS_H
#define HK_STATISTICS_H

#include "base.h"
#include "hakmem.h"

/* Settle the calling thread's counters, then read one class (class_idx < HK_ACCOUNT_CLASSES). */
HK_HIDDEN void statistics_of_class(unsigned class_idx, struct hk_class_stats *out);

/* The same for the process. */
HK_HIDDEN void statistics_of_process(struct hk_stats *out);

/* Where a text goes, of `len` bytes and a NUL; false: it could not be written, and no more of it is wanted. */
typedef bool (*statistics_sink)(void *arg, const char *text, size_t len);

/* A well-formed XML document, malloc_info's; the total is the sum of the very lines before it. False: the sink failed. */
HK_HIDDEN bool statistics_write_xml(statistics_sink sink, void *arg);

/* A table for people, malloc_stats's. */
HK_HIDDEN bool statistics_write_table(statistics_sink sink, void *arg);

#endif
