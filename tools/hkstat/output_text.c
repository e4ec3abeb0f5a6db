#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "columns.h"
#include "output.h"

struct cell {
    const char *title;
    int width;
    enum tick_rate rate; /* TICK_RATES: something else */
};

static const struct cell cells[] = {
    {"procs", 6, TICK_RATES},       {"allocs", 7, RATE_ALLOCS},        {"frees", 7, RATE_FREES},
    {"hit%", 6, TICK_RATES},        {"misses", 7, RATE_MISSES},        {"drains", 7, RATE_DRAINS},
    {"sfail", 6, RATE_SHARED_FAIL}, {"legacy", 7, RATE_LEGACY_ALLOCS}, {"ace", 6, RATE_ACE_FAIL},
    {"null", 6, RATE_ALLOC_FAIL},   {"live", 7, TICK_RATES},           {"lost", 6, TICK_RATES},
};

static void print_cell(const struct tick *tick, const struct cell *cell, char *out)
{
    const struct hk_class_account *account = &tick->total.account;
    bool first = tick->interval_ms == 0;
    if (cell->rate != TICK_RATES)
        print_number(out,
                     first ? (double)tick_count(account, cell->rate) : tick_per_s(tick, &tick->change, cell->rate));
    else if (strcmp(cell->title, "procs") == 0)
        print_number(out, (double)tick->process_count);
    else if (strcmp(cell->title, "hit%") == 0)
        print_percent(out,
                      first ? tick_hit_rate(account->allocs, account->misses) : tick_interval_hit_rate(&tick->change));
    else if (strcmp(cell->title, "live") == 0)
        print_bytes(out, (double)tick_live_bytes(account));
    else
        print_number(out, (double)tick_sum(tick->lost, HK_LOST_REASONS));
}

void output_line(FILE *out, const struct tick *tick, bool header)
{
    const size_t count = sizeof cells / sizeof cells[0];
    for (size_t i = 0; header && i < count; i++)
        fprintf(out, "%*s", cells[i].width, cells[i].title);
    if (header)
        fputc('\n', out);
    for (size_t i = 0; i < count; i++) {
        char text[CELL_SIZE];
        print_cell(tick, &cells[i], text);
        fprintf(out, "%*s", cells[i].width, text);
    }
    fputc('\n', out);
}

void output_table(FILE *out, const struct tick *tick, uint64_t pid, bool utf8)
{
    enum table_kind kind = pid != 0 ? TABLE_CLASSES : TABLE_PROCESSES;
    const struct tick_process *process = pid != 0 ? tick_find_pid(tick, pid) : NULL;
    if (pid != 0 && process == NULL)
        return;
    const struct table *table = &tables[kind];
    char cell[4 * CELL_SIZE];
    for (size_t i = 0; i < table->count; i++) {
        column_title(&table->columns[i], tick, cell, sizeof cell);
        fputs(cell, out);
    }
    fputc('\n', out);
    const void **rows;
    size_t count = table_rows(kind, tick, process, table->first_sort, kind == TABLE_PROCESSES, &rows);
    for (size_t row = 0; row < count; row++) {
        for (size_t i = 0; i < table->count; i++) {
            column_cell(&table->columns[i], tick, rows[row], utf8, cell, sizeof cell);
            fputs(cell, out);
        }
        fputc('\n', out);
    }
    free(rows);
}
