#include "history.h"

#include "memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct track {
    struct hk_process_key key;
    size_t count;
    float values[HISTORY_SERIES][HISTORY_LENGTH];
};

struct history {
    struct track **tracks; /* in order of key, as a tick's processes are */
    size_t count;
};

struct history *history_new(void)
{
    return memset(grow(NULL, 1, sizeof(struct history)), 0, sizeof(struct history));
}

void history_free(struct history *history)
{
    for (size_t i = 0; i < history->count; i++)
        free(history->tracks[i]);
    free(history->tracks);
    free(history);
}

static int compare_keys(const struct hk_process_key *a, const struct hk_process_key *b)
{
    if (a->pid != b->pid)
        return a->pid < b->pid ? -1 : 1;
    return (a->start_time > b->start_time) - (a->start_time < b->start_time);
}

static void add_values(struct track *track, const struct tick *tick, const struct tick_process *process)
{
    const struct tick_change *change = &process->change;
    const double values[HISTORY_SERIES] = {
        [HISTORY_ALLOCS] = tick_per_s(tick, change, RATE_ALLOCS),
        [HISTORY_HIT_RATE] = tick_interval_hit_rate(change),
        [HISTORY_MISSES] = tick_per_s(tick, change, RATE_MISSES),
        [HISTORY_DRAINS] = tick_per_s(tick, change, RATE_DRAINS),
        [HISTORY_FALLBACKS] = tick_per_s(tick, change, RATE_SHARED_FAIL),
        [HISTORY_FAILURES] = tick_per_s(tick, change, RATE_ACE_FAIL) + tick_per_s(tick, change, RATE_ALLOC_FAIL),
        [HISTORY_LIVE] = process->info.account != 0 ? (double)tick_live_bytes(&process->now.account) : NAN,
        [HISTORY_MAPPED] = process->info.known & HK_KNOWN_MAPPED_BYTES ? (double)process->info.mapped_bytes : NAN,
    };
    bool full = track->count == HISTORY_LENGTH;
    for (size_t i = 0; i < HISTORY_SERIES; i++) {
        float *series = track->values[i];
        if (full)
            memmove(series, series + 1, (HISTORY_LENGTH - 1) * sizeof *series);
        series[full ? HISTORY_LENGTH - 1 : track->count] = (float)values[i];
    }
    track->count += !full;
}

void history_add(struct history *history, const struct tick *tick)
{
    struct track **tracks = grow(NULL, tick->process_count + 1, sizeof *tracks);
    size_t old = 0;
    for (size_t i = 0; i < tick->process_count; i++) {
        const struct tick_process *process = &tick->processes[i];
        while (old < history->count && compare_keys(&history->tracks[old]->key, &process->info.key) < 0)
            free(history->tracks[old++]);
        if (old < history->count && compare_keys(&history->tracks[old]->key, &process->info.key) == 0) {
            tracks[i] = history->tracks[old++];
        } else {
            tracks[i] = grow(NULL, 1, sizeof *tracks[i]);
            tracks[i]->key = process->info.key;
            tracks[i]->count = 0;
        }
        add_values(tracks[i], tick, process);
    }
    while (old < history->count)
        free(history->tracks[old++]);
    free(history->tracks);
    history->tracks = tracks;
    history->count = tick->process_count;
}

const float *history_values(const struct history *history, const struct hk_process_key *key, enum history_series series,
                            size_t *count)
{
    for (size_t i = 0; i < history->count; i++) {
        if (compare_keys(&history->tracks[i]->key, key) == 0) {
            *count = history->tracks[i]->count;
            return history->tracks[i]->values[series];
        }
    }
    *count = 0;
    return NULL;
}
