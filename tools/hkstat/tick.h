/* tick.h - the state of all watched processes at one moment, and what changed since the moment before. Everything that
 * hkstat shows is shown from a tick, be it live or from a record.
 *
 *   process.now = sum of its classes' accounts        tick.total = sum of its processes
 *
 * Plain memory: one thread at a time. */
#ifndef HKSTAT_TICK_H
#define HKSTAT_TICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/hakmem_maps.h"
#include "safe_text.h"

/* Counts whose change is shown as a rate. All of them count from the process's start. */
enum tick_rate {
    RATE_ALLOCS,
    RATE_FREES,
    RATE_ALLOC_BYTES,
    RATE_MISSES,
    RATE_DRAINS,
    RATE_SHARED_FAIL,
    RATE_LEGACY_ALLOCS,
    RATE_ACE_FAIL,
    RATE_ALLOC_FAIL,
    TICK_RATES
};

extern const char *const tick_rate_names[TICK_RATES]; /* as in JSON, with _per_s */

/* What changed since the tick before. A count runs from the process's start, so its change is known only where the tick
 * before has it too, or where the process began after that tick: else not `known`, and the rate isn't made up. */
struct tick_change {
    bool known;
    uint64_t by[TICK_RATES];
};

struct tick_class {
    struct hk_class_account now;
    struct tick_change change;
    bool has_cap;
    struct hk_cap cap; /* ACE's, as it last moved */
};

struct tick_process {
    struct hk_process info;
    char comm[SAFE_TEXT_SIZE(HK_COMM_LENGTH)];       /* safe text of info.comm */
    char executable[SAFE_TEXT_SIZE(HK_NAME_LENGTH)]; /* safe text of info.executable.name */
    bool complete;                                   /* every class that it used is in `classes` */
    struct hk_totals now;                            /* of all classes; processes is 1 */
    struct tick_change change;                       /* of the classes whose change is known */
    struct tick_class *classes;                      /* in order of class_idx, those that were told */
    size_t class_count;
};

/* Ended processes of one executable. */
struct tick_ended {
    struct hk_executable executable;
    char name[SAFE_TEXT_SIZE(HK_NAME_LENGTH)]; /* safe text of executable.name */
    struct hk_ended sums;
};

struct tick {
    int64_t time_ms;      /* since the epoch */
    uint64_t boot_ns;     /* since boot, the same moment */
    uint64_t interval_ms; /* since the tick before; 0: this is the first, and no change is known */
    bool refreshed;       /* accounts were read from the processes for this tick; else they lag by up to a report */
    uint64_t attached_ns; /* since boot */
    uint64_t lost[HK_LOST_REASONS];
    struct tick_process *processes; /* in order of key */
    size_t process_count;
    struct tick_ended *ended; /* in order of name */
    size_t ended_count;
    struct hk_totals total; /* of `processes` */
    struct tick_change change;
};

/* A tick with nothing in it; the caller ends it with tick_free(). Ends the program if there is no memory. */
struct tick *tick_new(void);
void tick_free(struct tick *tick); /* NULL: nothing */

/* Append; the result is zeroed, to be filled, and valid until the next call for the same array. */
struct tick_process *tick_add_process(struct tick *tick);
struct tick_class *tick_add_class(struct tick_process *process);
struct tick_ended *tick_add_ended(struct tick *tick);

/* Put the processes in order, so that they can be found while classes are still appended; invalidates no class. */
void tick_order_processes(struct tick *tick);

/* Drop all processes but those of one pid. */
void tick_keep_pid(struct tick *tick, uint64_t pid);

/* Put everything in order and add up. Call once all is appended, before any function below. */
void tick_finish(struct tick *tick);

/* Fill in what changed from `before` (finished; NULL: there is none) to `tick`, whose interval_ms is set. */
void tick_compare(struct tick *tick, const struct tick *before);

/* NULL: not there. By pid: the youngest process of that pid. */
struct tick_process *tick_find(const struct tick *tick, const struct hk_process_key *key);
struct tick_process *tick_find_pid(const struct tick *tick, uint64_t pid);
struct tick_class *tick_find_class(const struct tick_process *process, uint64_t class_idx);

/* Whether the process's account was found, and read. */
static inline bool tick_account_known(const struct tick_process *process)
{
    return process->info.account != 0 && process->info.generation != 0;
}

/* Caught since the attach, in processes that live and in those that ended. */
uint64_t tick_misuses(const struct tick *tick);

/* The count that a rate is the change of. */
uint64_t tick_count(const struct hk_class_account *account, enum tick_rate rate);

/* Change a second, rounded to thousandths; NAN: not known. */
double tick_per_s(const struct tick *tick, const struct tick_change *change, enum tick_rate rate);

/* 1 - misses / allocations, 0..1; NAN: no allocations. A miss is counted before its allocation is, hence the floor of 0. */
double tick_hit_rate(uint64_t allocs, uint64_t misses);
double tick_interval_hit_rate(const struct tick_change *change);

/* Share of the refills that a slab the class already holds served, 0..1; NAN: no refills. */
double tick_superslab_hit_rate(const struct hk_class_account *account);

/* Sums stop at TICK_MOST, which JSON can hold: a process that lies in its account can't make the sum of all turn over. */
#define TICK_MOST ((uint64_t)INT64_MAX)
uint64_t tick_add(uint64_t a, uint64_t b);
uint64_t tick_sum(const uint64_t *words, size_t count);

uint64_t tick_live_blocks(const struct hk_class_account *account);
uint64_t tick_live_bytes(const struct hk_class_account *account);

#endif
