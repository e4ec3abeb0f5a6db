/* failures.h - the flight recorder: the last failures of each kind, kept in the process, for oom_report.h and for readers from outside
 * (hk_layout says where; a core file has it). Nothing here takes a lock, allocates or is on a fast path.
 *
 * Entry n of a kind lies at n % HK_RECORDER_KEPT. Its sequence is 2 n + 1 while it is written, 2 n + 2 once it is whole: a reader
 * takes it when that is the same before and after. Two writers meet in an entry only when one falls HK_RECORDER_KEPT behind; the later one
 * then leaves it. */
#ifndef HK_RECORDER_H
#define HK_RECORDER_H

#include "account.h"
#include "base.h"
#include "os.h"
#include "trace.h"

#define HK_RECORDER_VERSION 1u
#define HK_RECORDER_KEPT 16u

enum hk_failure_kind {
#define HK_FAILURE(name, text) FAILURE_##name,
#include "failures.def"
#undef HK_FAILURE
    HK_FAILURE_KINDS
};

struct hk_failure {
    uint64_t sequence; /* any: see above; 0: none yet */
    uint64_t time_ns;  /* CLOCK_MONOTONIC */
    uint64_t size;     /* bytes that were asked for; of a fallback those of a block */
    uint32_t class_idx;
    uint32_t error;     /* errno; 0: no call of the kernel failed */
    uint32_t limit;     /* enum os_limit: which was hit, as far as it was looked for */
    uint32_t reason;    /* of a fallback: enum hk_shared_fail */
    struct trace trace; /* its depth is 0 where none was taken; of a NULL its tid is always there */
};

/* Its layout is an ABI: a reader checks version and length. */
struct hk_recorder {
    uint32_t version;                  /* HK_RECORDER_VERSION */
    uint32_t length;                   /* sizeof(struct hk_recorder) */
    uint64_t counts[HK_FAILURE_KINDS]; /* any: of all that there were */
    struct hk_failure kept[HK_FAILURE_KINDS][HK_RECORDER_KEPT];
};
extern HK_HIDDEN struct hk_recorder hk_recorder;

/* NULL is about to be returned to a request of `size` bytes. limit: which was hit, or OS_LIMIT_UNASKED to have it looked for, but once a
 * second at most, since the kernel's answer takes long. A stack is taken a hundred times a second at most. errno kept. */
HK_HIDDEN HK_COLD void failures_add_null(size_t size, enum os_limit limit);

/* No SuperSlab for a slab of the class, for `reason`, with the kernel's errno or 0. */
HK_HIDDEN HK_COLD void failures_add_fallback(unsigned class_idx, enum hk_shared_fail reason, int error);

/* Copy the n-th last failure of a kind, 0 for the last. False: there is none, or it is being written. Any thread; async-signal-safe. */
HK_HIDDEN bool failures_read(enum hk_failure_kind kind, unsigned n, struct hk_failure *out);

/* In a child: it has had none. */
HK_HIDDEN void failures_after_fork(void);

#endif
