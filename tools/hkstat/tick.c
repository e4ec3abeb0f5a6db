#include "tick.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

const char *const tick_rate_names[TICK_RATES] = {
    [RATE_ALLOCS] = "allocs_per_s",
    [RATE_FREES] = "frees_per_s",
    [RATE_ALLOC_BYTES] = "alloc_bytes_per_s",
    [RATE_MISSES] = "misses_per_s",
    [RATE_DRAINS] = "drains_per_s",
    [RATE_SHARED_FAIL] = "shared_fail_per_s",
    [RATE_LEGACY_ALLOCS] = "legacy_allocs_per_s",
    [RATE_ACE_FAIL] = "ace_fail_per_s",
    [RATE_ALLOC_FAIL] = "alloc_fail_per_s",
};

/* Room for one more, zeroed: arrays double when their count is a power of two. */
static void *append(void **array, size_t *count, size_t size)
{
    if ((*count & (*count - 1)) == 0)
        *array = grow(*array, *count == 0 ? 1 : *count * 2, size);
    return memset((char *)*array + size * (*count)++, 0, size);
}

struct tick *tick_new(void)
{
    return memset(grow(NULL, 1, sizeof(struct tick)), 0, sizeof(struct tick));
}

void tick_free(struct tick *tick)
{
    if (tick == NULL)
        return;
    for (size_t i = 0; i < tick->process_count; i++)
        free(tick->processes[i].classes);
    free(tick->processes);
    free(tick->ended);
    free(tick);
}

struct tick_process *tick_add_process(struct tick *tick)
{
    void *array = tick->processes;
    struct tick_process *process = append(&array, &tick->process_count, sizeof *process);
    tick->processes = array;
    return process;
}

struct tick_class *tick_add_class(struct tick_process *process)
{
    void *array = process->classes;
    struct tick_class *class = append(&array, &process->class_count, sizeof *class);
    process->classes = array;
    return class;
}

struct tick_ended *tick_add_ended(struct tick *tick)
{
    void *array = tick->ended;
    struct tick_ended *ended = append(&array, &tick->ended_count, sizeof *ended);
    tick->ended = array;
    return ended;
}

static int compare_words(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_processes(const void *a, const void *b)
{
    const struct hk_process_key *x = &((const struct tick_process *)a)->info.key;
    const struct hk_process_key *y = &((const struct tick_process *)b)->info.key;
    int order = compare_words(x->pid, y->pid);
    return order != 0 ? order : compare_words(x->start_time, y->start_time);
}

static int compare_classes(const void *a, const void *b)
{
    return compare_words(((const struct tick_class *)a)->now.class_idx, ((const struct tick_class *)b)->now.class_idx);
}

static int compare_ended(const void *a, const void *b)
{
    const struct tick_ended *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    if (order == 0)
        order = compare_words(x->executable.device, y->executable.device);
    return order != 0 ? order : compare_words(x->executable.inode, y->executable.inode);
}

uint64_t tick_add(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) || sum > TICK_MOST ? TICK_MOST : sum;
}

uint64_t tick_sum(const uint64_t *words, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum = tick_add(sum, words[i]);
    return sum;
}

static uint64_t multiply(uint64_t a, uint64_t b)
{
    uint64_t product;
    return __builtin_mul_overflow(a, b, &product) || product > TICK_MOST ? TICK_MOST : product;
}

/* The words of an account from `inherited` on are counts. */
#define FIRST_COUNT (offsetof(struct hk_class_account, inherited) / sizeof(uint64_t))

static void add_account(struct hk_class_account *to, const struct hk_class_account *from)
{
    uint64_t *sums = (uint64_t *)(void *)to;
    const uint64_t *counts = (const uint64_t *)(const void *)from;
    for (size_t i = FIRST_COUNT; i < HK_ACCOUNT_WORDS; i++)
        sums[i] = tick_add(sums[i], counts[i]);
}

static void add_totals(struct hk_totals *to, const struct hk_totals *from)
{
    to->processes += from->processes;
    add_account(&to->account, &from->account);
    for (size_t i = 0; i < HK_DRAIN_REASONS; i++)
        to->drain_bytes[i] = tick_add(to->drain_bytes[i], from->drain_bytes[i]);
}

/* In order, each key once: a walk over a map that changes may come to an entry twice. `drop` frees what an element holds. */
static void put_in_order(void *array, size_t *count, size_t size, int (*compare)(const void *, const void *),
                         void (*drop)(void *))
{
    char *elements = array;
    size_t kept = 0;
    if (*count == 0)
        return;
    qsort(array, *count, size, compare);
    for (size_t i = 1; i < *count; i++) {
        if (compare(elements + kept * size, elements + i * size) != 0)
            memmove(elements + ++kept * size, elements + i * size, size);
        else if (drop != NULL)
            drop(elements + i * size);
    }
    *count = kept + 1;
}

static void drop_process(void *process)
{
    free(((struct tick_process *)process)->classes);
}

/* What a record can hold: so that what is computed from it is the same live and in a replay. */
static void limit_account(struct hk_class_account *account)
{
    uint64_t *counts = (uint64_t *)(void *)account;
    for (size_t i = FIRST_COUNT; i < HK_ACCOUNT_WORDS; i++)
        if (counts[i] > TICK_MOST)
            counts[i] = TICK_MOST;
}

static void finish_process(struct tick_process *process)
{
    put_in_order(process->classes, &process->class_count, sizeof *process->classes, compare_classes, NULL);
    process->now = (struct hk_totals){.processes = 1};
    for (size_t i = 0; i < process->class_count; i++) {
        const struct hk_class_account *account = &process->classes[i].now;
        limit_account(&process->classes[i].now);
        add_account(&process->now.account, account);
        for (size_t reason = 0; reason < HK_DRAIN_REASONS; reason++)
            process->now.drain_bytes[reason] = tick_add(process->now.drain_bytes[reason],
                                                        multiply(account->drain_blocks[reason], account->block_size));
    }
}

void tick_keep_pid(struct tick *tick, uint64_t pid)
{
    size_t kept = 0;
    for (size_t i = 0; i < tick->process_count; i++) {
        if (tick->processes[i].info.key.pid == pid)
            tick->processes[kept++] = tick->processes[i];
        else
            free(tick->processes[i].classes);
    }
    tick->process_count = kept;
}

void tick_order_processes(struct tick *tick)
{
    put_in_order(tick->processes, &tick->process_count, sizeof *tick->processes, compare_processes, drop_process);
}

void tick_finish(struct tick *tick)
{
    tick_order_processes(tick);
    for (size_t i = 0; i < tick->process_count; i++) {
        finish_process(&tick->processes[i]);
        add_totals(&tick->total, &tick->processes[i].now);
    }
    for (size_t i = 0; i < tick->ended_count; i++)
        limit_account(&tick->ended[i].sums.totals.account);
    put_in_order(tick->ended, &tick->ended_count, sizeof *tick->ended, compare_ended, NULL);
}

struct tick_process *tick_find(const struct tick *tick, const struct hk_process_key *key)
{
    struct tick_process wanted = {.info = {.key = *key}};
    if (tick->process_count == 0)
        return NULL;
    return bsearch(&wanted, tick->processes, tick->process_count, sizeof wanted, compare_processes);
}

struct tick_process *tick_find_pid(const struct tick *tick, uint64_t pid)
{
    struct tick_process *found = NULL;
    for (size_t i = 0; i < tick->process_count && tick->processes[i].info.key.pid <= pid; i++) {
        if (tick->processes[i].info.key.pid == pid)
            found = &tick->processes[i];
    }
    return found;
}

struct tick_class *tick_find_class(const struct tick_process *process, uint64_t class_idx)
{
    for (size_t i = 0; i < process->class_count; i++) {
        if (process->classes[i].now.class_idx == class_idx)
            return &process->classes[i];
    }
    return NULL;
}

uint64_t tick_misuses(const struct tick *tick)
{
    uint64_t all = 0;
    for (size_t i = 0; i < tick->process_count; i++)
        all = tick_add(all, tick_sum(tick->processes[i].info.events.misuses, HK_MISUSES));
    for (size_t i = 0; i < tick->ended_count; i++)
        all = tick_add(all, tick_sum(tick->ended[i].sums.events.misuses, HK_MISUSES));
    return all;
}

uint64_t tick_count(const struct hk_class_account *account, enum tick_rate rate)
{
    switch (rate) {
    case RATE_ALLOCS:
        return account->allocs;
    case RATE_FREES:
        return account->frees;
    case RATE_ALLOC_BYTES:
        return account->alloc_bytes;
    case RATE_MISSES:
        return account->misses;
    case RATE_DRAINS:
        return tick_sum(account->drains, HK_DRAIN_REASONS);
    case RATE_SHARED_FAIL:
        return tick_sum(account->shared_fails, HK_SHARED_FAILS);
    case RATE_LEGACY_ALLOCS:
        return account->legacy_allocs;
    case RATE_ACE_FAIL:
        return tick_sum(account->ace_fails, HK_ACE_FAILS);
    case RATE_ALLOC_FAIL:
        return account->alloc_fails;
    case TICK_RATES:
        break;
    }
    return 0;
}

/* Counts never fall, but for a process that lies. */
static void compare_accounts(struct tick_change *change, const struct hk_class_account *now,
                             const struct hk_class_account *before)
{
    change->known = true;
    for (enum tick_rate rate = 0; rate < TICK_RATES; rate++) {
        uint64_t count = tick_count(now, rate), count_before = tick_count(before, rate);
        change->by[rate] = count > count_before ? count - count_before : 0;
    }
}

static void add_change(struct tick_change *to, const struct tick_change *from)
{
    to->known |= from->known;
    for (size_t i = 0; i < TICK_RATES; i++)
        to->by[i] = tick_add(to->by[i], from->by[i]);
}

/* A class that the tick before does not have was at 0 only if that tick was complete. One that it has may still be a part
 * of an account, made of single events: those tell misses and drains, and no allocations. */
static void compare_process(struct tick_process *process, const struct tick *before)
{
    static const struct hk_class_account nothing;
    const struct tick_process *then = tick_find(before, &process->info.key);
    bool began_since = process->info.key.start_time >= before->boot_ns;
    bool complete_then = then != NULL && then->complete;
    for (size_t i = 0; i < process->class_count; i++) {
        struct tick_class *class = &process->classes[i];
        const struct tick_class *class_then = then != NULL ? tick_find_class(then, class->now.class_idx) : NULL;
        if (class_then != NULL && (complete_then || class_then->now.allocs != 0))
            compare_accounts(&class->change, &class->now, &class_then->now);
        else if (class_then == NULL && (began_since || complete_then))
            compare_accounts(&class->change, &class->now, &nothing);
        if (class->change.known)
            add_change(&process->change, &class->change);
    }
}

void tick_compare(struct tick *tick, const struct tick *before)
{
    if (before == NULL || tick->interval_ms == 0)
        return;
    for (size_t i = 0; i < tick->process_count; i++) {
        compare_process(&tick->processes[i], before);
        if (tick->processes[i].change.known)
            add_change(&tick->change, &tick->processes[i].change);
    }
}

double tick_per_s(const struct tick *tick, const struct tick_change *change, enum tick_rate rate)
{
    if (!change->known || tick->interval_ms == 0)
        return NAN;
    return round((double)change->by[rate] * 1e6 / (double)tick->interval_ms) / 1e3;
}

double tick_hit_rate(uint64_t allocs, uint64_t misses)
{
    if (allocs == 0)
        return NAN;
    return misses >= allocs ? 0 : 1 - (double)misses / (double)allocs;
}

double tick_interval_hit_rate(const struct tick_change *change)
{
    return change->known ? tick_hit_rate(change->by[RATE_ALLOCS], change->by[RATE_MISSES]) : NAN;
}

double tick_superslab_hit_rate(const struct hk_class_account *account)
{
    uint64_t held = tick_add(account->refills[SERVED_CHAIN], account->refills[SERVED_SLAB]);
    uint64_t all = tick_sum(account->refills, HK_SERVERS);
    return all == 0 ? NAN : (double)held / (double)all;
}

static uint64_t live(uint64_t inherited, uint64_t came, uint64_t went)
{
    uint64_t ever = tick_add(inherited, came);
    return ever > went ? ever - went : 0;
}

uint64_t tick_live_blocks(const struct hk_class_account *account)
{
    return live(account->inherited, account->allocs, account->frees);
}

uint64_t tick_live_bytes(const struct hk_class_account *account)
{
    return live(account->inherited_bytes, account->alloc_bytes, account->free_bytes);
}
