/* history.h - the last ticks of each process, as far as curves show them. */
#ifndef HKSTAT_HISTORY_H
#define HKSTAT_HISTORY_H

#include "tick.h"

#define HISTORY_LENGTH 300u /* ticks: five minutes of seconds */

enum history_series {
    HISTORY_ALLOCS,
    HISTORY_HIT_RATE,
    HISTORY_MISSES,
    HISTORY_DRAINS,
    HISTORY_FALLBACKS,
    HISTORY_FAILURES,
    HISTORY_LIVE,
    HISTORY_MAPPED,
    HISTORY_SERIES
};

struct history;

struct history *history_new(void);
void history_free(struct history *history);

/* Add a tick; processes that are not in it are forgotten. */
void history_add(struct history *history, const struct tick *tick);

/* The values of one series, oldest first, NAN where not known; their number to *count. NULL: no such process. Valid until
 * the next history_add(). */
const float *history_values(const struct history *history, const struct hk_process_key *key, enum history_series series,
                            size_t *count);

#endif
