#include "columns.h"

#include "memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_scaled(char *out, double value, double step, const char *const *units)
{
    if (isnan(value)) {
        snprintf(out, CELL_SIZE, "-");
        return;
    }
    size_t unit = 0;
    double most = 9999.5; /* a plain number up to 9999 */
    while (value >= most && units[unit + 1] != NULL) {
        value /= step;
        unit++;
        most = 999.5;
    }
    int digits = unit == 0 ? (value < 99.95 && value != floor(value)) : value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(out, CELL_SIZE, "%.*f%s", digits, value, units[unit]);
}

void print_number(char *out, double value)
{
    static const char *const units[] = {"", "k", "M", "G", "T", "P", "E", NULL};
    print_scaled(out, value, 1e3, units);
}

void print_bytes(char *out, double value)
{
    static const char *const units[] = {"", "K", "M", "G", "T", "P", "E", NULL};
    print_scaled(out, value, 1024, units);
}

void print_percent(char *out, double value)
{
    if (isnan(value))
        snprintf(out, CELL_SIZE, "-");
    else if (value >= 1)
        snprintf(out, CELL_SIZE, "100");
    else
        snprintf(out, CELL_SIZE, "%.1f", floor(value * 1e3) / 10);
}

/* A rate; in a first tick the count itself. */
static double rate_or_count(const struct tick *tick, const struct tick_change *change, enum tick_rate rate,
                            const struct hk_class_account *account)
{
    return tick->interval_ms != 0 ? tick_per_s(tick, change, rate) : (double)tick_count(account, rate);
}

static double hit_rate(const struct tick *tick, const struct tick_change *change,
                       const struct hk_class_account *account)
{
    return tick->interval_ms != 0 ? tick_interval_hit_rate(change) : tick_hit_rate(account->allocs, account->misses);
}

/* The rates that both kinds of rows have. */
#define EACH_RATE(of)                                                                                       \
    of(allocs, RATE_ALLOCS) of(misses, RATE_MISSES) of(drains, RATE_DRAINS) of(fallbacks, RATE_SHARED_FAIL) \
        of(ace_fails, RATE_ACE_FAIL) of(alloc_fails, RATE_ALLOC_FAIL)

#define ROWS_RATE(name, rate)                                                      \
    static double process_##name(const struct tick *tick, const void *row)         \
    {                                                                              \
        const struct tick_process *process = row;                                  \
        return rate_or_count(tick, &process->change, rate, &process->now.account); \
    }                                                                              \
    static double class_##name(const struct tick *tick, const void *row)           \
    {                                                                              \
        const struct tick_class *class = row;                                      \
        return rate_or_count(tick, &class->change, rate, &class->now);             \
    }
EACH_RATE(ROWS_RATE)

static double process_failures(const struct tick *tick, const void *row)
{
    return process_ace_fails(tick, row) + process_alloc_fails(tick, row);
}

static double class_failures(const struct tick *tick, const void *row)
{
    return class_ace_fails(tick, row) + class_alloc_fails(tick, row);
}

static double process_pid(const struct tick *tick, const void *row)
{
    (void)tick;
    return (double)((const struct tick_process *)row)->info.key.pid;
}

static const char *process_comm(const void *row)
{
    return ((const struct tick_process *)row)->comm;
}

static double process_hit_rate(const struct tick *tick, const void *row)
{
    const struct tick_process *process = row;
    return hit_rate(tick, &process->change, &process->now.account);
}

static double process_live(const struct tick *tick, const void *row)
{
    (void)tick;
    const struct tick_process *process = row;
    return tick_account_known(process) ? (double)tick_live_bytes(&process->now.account) : NAN;
}

static double process_mapped(const struct tick *tick, const void *row)
{
    (void)tick;
    const struct tick_process *process = row;
    return process->info.known & HK_KNOWN_MAPPED_BYTES ? (double)process->info.mapped_bytes : NAN;
}

static double class_size(const struct tick *tick, const void *row)
{
    (void)tick;
    const struct tick_class *class = row;
    return class->now.class_idx == HK_CLASS_HUGE ? INFINITY : (double)class->now.block_size;
}

static double class_hit_rate(const struct tick *tick, const void *row)
{
    const struct tick_class *class = row;
    return hit_rate(tick, &class->change, &class->now);
}

static double class_superslab_hit_rate(const struct tick *tick, const void *row)
{
    (void)tick;
    return tick_superslab_hit_rate(&((const struct tick_class *)row)->now);
}

static double class_live(const struct tick *tick, const void *row)
{
    (void)tick;
    return (double)tick_live_bytes(&((const struct tick_class *)row)->now);
}

static double class_slabs(const struct tick *tick, const void *row)
{
    (void)tick;
    return (double)((const struct tick_class *)row)->now.slabs;
}

#define ENDED_COUNT(name, rate)                                                                  \
    static double ended_##name(const struct tick *tick, const void *row)                         \
    {                                                                                            \
        (void)tick;                                                                              \
        return (double)tick_count(&((const struct tick_ended *)row)->sums.totals.account, rate); \
    }

ENDED_COUNT(allocs, RATE_ALLOCS)
ENDED_COUNT(misses, RATE_MISSES)
ENDED_COUNT(drains, RATE_DRAINS)
ENDED_COUNT(fallbacks, RATE_SHARED_FAIL)
ENDED_COUNT(ace_fails, RATE_ACE_FAIL)
ENDED_COUNT(alloc_fails, RATE_ALLOC_FAIL)

static double ended_failures(const struct tick *tick, const void *row)
{
    return ended_ace_fails(tick, row) + ended_alloc_fails(tick, row);
}

static const char *ended_name(const void *row)
{
    return ((const struct tick_ended *)row)->name;
}

static double ended_processes(const struct tick *tick, const void *row)
{
    (void)tick;
    return (double)((const struct tick_ended *)row)->sums.totals.processes;
}

static double ended_hit_rate(const struct tick *tick, const void *row)
{
    (void)tick;
    const struct hk_class_account *account = &((const struct tick_ended *)row)->sums.totals.account;
    return tick_hit_rate(account->allocs, account->misses);
}

static double ended_misuses(const struct tick *tick, const void *row)
{
    (void)tick;
    return (double)tick_sum(((const struct tick_ended *)row)->sums.events.misuses, HK_MISUSES);
}

static void print_pid(char *out, double value)
{
    snprintf(out, CELL_SIZE, "%.0f", value);
}

static void print_size(char *out, double value)
{
    if (isinf(value))
        snprintf(out, CELL_SIZE, "huge");
    else
        snprintf(out, CELL_SIZE, "%.0f", value);
}

static const struct column process_columns[] = {
    {"pid", 7, false, process_pid, print_pid, NULL},
    {" process", -14, false, NULL, NULL, process_comm},
    {"alloc/s", 8, true, process_allocs, print_number, NULL},
    {"hit%", 6, false, process_hit_rate, print_percent, NULL},
    {"miss/s", 7, true, process_misses, print_number, NULL},
    {"drain/s", 8, true, process_drains, print_number, NULL},
    {"fallb/s", 8, true, process_fallbacks, print_number, NULL},
    {"fail/s", 7, true, process_failures, print_number, NULL},
    {"live", 7, false, process_live, print_bytes, NULL},
    {"mapped", 7, false, process_mapped, print_bytes, NULL},
};

static const struct column class_columns[] = {
    {"size", 8, false, class_size, print_size, NULL},
    {"alloc/s", 8, true, class_allocs, print_number, NULL},
    {"hit%", 6, false, class_hit_rate, print_percent, NULL},
    {"miss/s", 7, true, class_misses, print_number, NULL},
    {"drain/s", 8, true, class_drains, print_number, NULL},
    {"fallb/s", 8, true, class_fallbacks, print_number, NULL},
    {"fail/s", 7, true, class_failures, print_number, NULL},
    {"live", 7, false, class_live, print_bytes, NULL},
    {"slabs", 7, false, class_slabs, print_number, NULL},
    {"slabhit%", 9, false, class_superslab_hit_rate, print_percent, NULL},
};

static const struct column ended_columns[] = {
    {" executable", -20, false, NULL, NULL, ended_name},      {"ended", 7, false, ended_processes, print_number, NULL},
    {"allocs", 8, false, ended_allocs, print_number, NULL},   {"hit%", 6, false, ended_hit_rate, print_percent, NULL},
    {"misses", 8, false, ended_misses, print_number, NULL},   {"drains", 8, false, ended_drains, print_number, NULL},
    {"fallb", 7, false, ended_fallbacks, print_number, NULL}, {"fails", 7, false, ended_failures, print_number, NULL},
    {"misuse", 8, false, ended_misuses, print_number, NULL},
};

const struct table tables[TABLES] = {
    [TABLE_PROCESSES] = {process_columns, sizeof process_columns / sizeof process_columns[0], 2},
    [TABLE_CLASSES] = {class_columns, sizeof class_columns / sizeof class_columns[0], 0},
    [TABLE_ENDED] = {ended_columns, sizeof ended_columns / sizeof ended_columns[0], 1},
};

static void place(const struct column *column, const char *text, int used, char *out, size_t size)
{
    int width = abs(column->width), pad = used < width ? width - used : 0;
    snprintf(out, size, "%*s%s%*s", column->width > 0 ? pad : 0, "", text, column->width < 0 ? pad : 0, "");
}

void column_title(const struct column *column, const struct tick *tick, char *out, size_t size)
{
    char title[CELL_SIZE];
    size_t length = strlen(column->title) - (column->is_rate && tick->interval_ms == 0 ? 2 : 0);
    snprintf(title, sizeof title, "%.*s", (int)length, column->title);
    place(column, title, (int)length, out, size);
}

void column_cell(const struct column *column, const struct tick *tick, const void *row, bool utf8, char *out,
                 size_t size)
{
    char cell[CELL_SIZE];
    int used;
    if (column->text != NULL) {
        cell[0] = ' ';
        used = 1 + safe_text_fit(cell + 1, sizeof cell - 1, column->text(row), abs(column->width) - 1, utf8);
    } else {
        column->print(cell, column->value(tick, row));
        used = (int)strlen(cell);
    }
    place(column, cell, used, out, size);
}

/* Of one sort at a time: qsort() hands nothing through, qsort_r() does. */
struct order {
    const struct tick *tick;
    const struct column *column;
    bool descending;
};

static int compare_rows(const void *a, const void *b, void *argument)
{
    const struct order *order = argument;
    const void *x = *(const void *const *)a, *y = *(const void *const *)b;
    int result = 0;
    if (order->column->text != NULL) {
        result = strcmp(order->column->text(x), order->column->text(y));
    } else {
        double value_x = order->column->value(order->tick, x), value_y = order->column->value(order->tick, y);
        if (isnan(value_x) || isnan(value_y))
            result = isnan(value_x) - isnan(value_y);
        else
            result = (value_x > value_y) - (value_x < value_y);
        if (isnan(value_x) != isnan(value_y))
            return result;
    }
    if (result != 0)
        return order->descending ? -result : result;
    return (x > y) - (x < y);
}

size_t table_rows(enum table_kind kind, const struct tick *tick, const struct tick_process *process, size_t sort,
                  bool descending, const void ***rows)
{
    const struct {
        const void *first;
        size_t count, size;
    } arrays[TABLES] = {
        [TABLE_PROCESSES] = {tick->processes, tick->process_count, sizeof *tick->processes},
        [TABLE_CLASSES] = {process != NULL ? process->classes : NULL, process != NULL ? process->class_count : 0,
                           sizeof *process->classes},
        [TABLE_ENDED] = {tick->ended, tick->ended_count, sizeof *tick->ended},
    };
    size_t count = arrays[kind].count;
    *rows = grow(NULL, count + 1, sizeof **rows);
    for (size_t i = 0; i < count; i++)
        (*rows)[i] = (const char *)arrays[kind].first + i * arrays[kind].size;
    struct order order = {tick, &tables[kind].columns[sort], descending};
    qsort_r(*rows, count, sizeof **rows, compare_rows, &order);
    return count;
}
