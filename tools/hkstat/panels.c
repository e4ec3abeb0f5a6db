#include "panels.h"

#include <curses.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "callers.h"
#include "draw.h"
#include "fields.h"
#include "occupancy.h"

const char *const panel_names[PANELS] = {"classes", "histograms", "events", "history", "map", "stacks"};

/* ---- tables ---- */

static void draw_row(int y, const struct table *table, const struct tick *tick, const void *row, enum paint paint,
                     bool utf8)
{
    char cell[4 * CELL_SIZE];
    int x = 0;
    for (size_t i = 0; i < table->count; i++) {
        column_cell(&table->columns[i], tick, row, utf8, cell, sizeof cell);
        x = draw_text(y, x, paint, cell);
    }
    if (paint == PAINT_SELECTED)
        draw_fill(y, x, paint);
}

static void draw_titles(int y, const struct table *table, const struct tick *tick, const struct table_view *view)
{
    char cell[4 * CELL_SIZE];
    int x = 0;
    for (size_t i = 0; i < table->count; i++) {
        column_title(&table->columns[i], tick, cell, sizeof cell);
        char *lead = i == view->sort && cell[0] == ' ' ? cell + strspn(cell, " ") - 1 : NULL;
        if (lead != NULL)
            *lead = view->descending ? 'v' : '^';
        x = draw_text(y, x, i == view->sort ? PAINT_SELECTED : PAINT_TITLE, cell);
    }
    draw_fill(y, x, PAINT_TITLE);
}

void panel_table(struct area area, enum table_kind kind, const struct tick *tick, const void *const *rows, size_t count,
                 struct table_view *view, bool utf8)
{
    const struct table *table = &tables[kind];
    draw_titles(area.top++, table, tick, view);
    size_t height = area.bottom > area.top ? (size_t)(area.bottom - area.top) : 0;
    if (view->selected >= count)
        view->selected = count == 0 ? 0 : count - 1;
    if (view->selected < view->offset)
        view->offset = view->selected;
    if (height > 0 && view->selected >= view->offset + height)
        view->offset = view->selected - height + 1;
    if (count <= height)
        view->offset = 0;
    for (size_t i = 0; i < height && view->offset + i < count; i++) {
        size_t row = view->offset + i;
        draw_row(area.top + (int)i, table, tick, rows[row], row == view->selected ? PAINT_SELECTED : PAINT_PLAIN, utf8);
    }
}

/* ---- histograms ---- */

#define LABEL_WIDTH 16
#define COUNT_WIDTH 8

/* Columns left to right - 1 of an area. */
struct strip {
    struct area area;
    int left, right;
};

static void draw_bucket(const struct strip *strip, int y, const char *label, uint64_t count, uint64_t most)
{
    char number[CELL_SIZE];
    print_number(number, (double)count);
    int x = draw_format(y, strip->left, PAINT_PLAIN, "%*s%*s ", LABEL_WIDTH, label, COUNT_WIDTH, number);
    draw_bar(y, x, strip->right - x - 1, most == 0 ? 0 : (double)count / (double)most, PAINT_BAR);
}

/* The last buckets, if there is no room for all. */
static size_t first_shown(const struct strip *strip, size_t first, size_t last)
{
    int height = strip->area.bottom - strip->area.top;
    size_t room = height > 0 ? (size_t)height : 1;
    return last - first + 1 > room ? last + 1 - room : first;
}

static void draw_hits(struct strip strip, const uint64_t *counts)
{
    size_t first = 0, last = 0;
    uint64_t most;
    if (!draw_range(counts, HK_HITS_BUCKETS, &first, &last, &most)) {
        draw_text(strip.area.top, strip.left, PAINT_DIM, "  no misses yet");
        return;
    }
    int y = strip.area.top;
    for (size_t i = first_shown(&strip, first, last); i <= last && y < strip.area.bottom; i++) {
        char from[CELL_SIZE], to[CELL_SIZE], label[3 * CELL_SIZE];
        print_number(from, i == 0 ? 0 : ldexp(1, (int)i - 1));
        print_number(to, ldexp(1, (int)i) - 1);
        snprintf(label, sizeof label, i < 2 ? "%s" : "%s..%s", from, to);
        draw_bucket(&strip, y++, label, counts[i], most);
    }
}

/* The values in tenths, finer at the top, where good and very good lie close together. */
static void draw_hit_rates(struct strip strip, const uint64_t *counts)
{
    static const unsigned bounds[] = {0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 100, 101};
    enum { BUCKETS = sizeof bounds / sizeof bounds[0] - 1 };
    uint64_t sums[BUCKETS];
    size_t first = 0, last = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        sums[i] = tick_sum(counts + bounds[i], bounds[i + 1] - bounds[i]);
    uint64_t most;
    if (!draw_range(sums, BUCKETS, &first, &last, &most)) {
        draw_text(strip.area.top, strip.left, PAINT_DIM, "  no reports yet");
        return;
    }
    int y = strip.area.top;
    for (size_t i = first_shown(&strip, first, last); i <= last && y < strip.area.bottom; i++) {
        char label[CELL_SIZE];
        snprintf(label, sizeof label, bounds[i + 1] - bounds[i] == 1 ? "%u %%" : "%u..%u %%", bounds[i],
                 bounds[i + 1] - 1);
        draw_bucket(&strip, y++, label, sums[i], most);
    }
}

void panel_histograms(struct area area, const struct tick_process *process, const struct tick_class *class)
{
    const struct hk_class_account *account = class != NULL ? &class->now : &process->now.account;
    int middle = COLS / 2;
    if (class == NULL)
        draw_text(area.top, 0, PAINT_BOLD, "all classes (j, k: one class)");
    else if (class->now.class_idx == HK_CLASS_HUGE)
        draw_text(area.top, 0, PAINT_BOLD, "huge blocks (j, k: another class)");
    else
        draw_format(area.top, 0, PAINT_BOLD, "blocks of %" PRIu32 " bytes (j, k: another class)",
                    class->now.block_size);
    area.top++;
    draw_text(area.top, 0, PAINT_TITLE, "hits between misses   times");
    draw_text(area.top, middle, PAINT_TITLE, "hit rate of report  reports");
    area.top++;
    draw_hits((struct strip){area, 0, middle}, account->hits_per_miss);
    draw_hit_rates((struct strip){area, middle, COLS}, account->hit_rate);
}

/* ---- history ---- */

void panel_history(struct area area, const struct tick_process *process, const struct history *history)
{
    static const struct {
        const char *name;
        void (*print)(char *out, double value);
    } shown[HISTORY_SERIES] = {
        [HISTORY_ALLOCS] = {"alloc/s", print_number},    [HISTORY_HIT_RATE] = {"hit%", print_percent},
        [HISTORY_MISSES] = {"miss/s", print_number},     [HISTORY_DRAINS] = {"drain/s", print_number},
        [HISTORY_FALLBACKS] = {"fallb/s", print_number}, [HISTORY_FAILURES] = {"fail/s", print_number},
        [HISTORY_LIVE] = {"live", print_bytes},          [HISTORY_MAPPED] = {"mapped", print_bytes},
    };
    int y = area.top;
    draw_text(y++, 0, PAINT_BOLD, "           now     most  oldest to newest tick");
    for (size_t i = 0; i < HISTORY_SERIES && y < area.bottom; i++) {
        size_t count;
        const float *values = history_values(history, &process->info.key, (enum history_series)i, &count);
        float most = NAN;
        for (size_t k = 0; k < count; k++)
            most = isnan(most) || values[k] > most ? values[k] : most;
        char now_text[CELL_SIZE], most_text[CELL_SIZE];
        shown[i].print(now_text, count > 0 ? (double)values[count - 1] : NAN);
        shown[i].print(most_text, (double)most);
        int x = draw_format(y, 0, PAINT_PLAIN, "%-8s%7s %8s  ", shown[i].name, now_text, most_text);
        if (count > 0)
            draw_curve(y, x, COLS - x - 1, values, count);
        y += area.bottom - area.top > 2 * HISTORY_SERIES ? 2 : 1;
    }
}

/* ---- map ---- */

static char unit_letter(const struct occupancy_unit *unit)
{
    static const char fills[] = "0123456789";
    switch ((enum unit_state)unit->state) {
    case UNIT_FREE:
        return '.';
    case UNIT_DIRTY:
        return '-';
    case UNIT_LARGE:
        return 'L';
    case UNIT_SLAB:
        break;
    }
    return unit->fill >= 100 ? '#' : fills[unit->fill / 10];
}

static void draw_superslab(int y, int x, const struct occupancy_superslab *superslab)
{
    x = draw_format(y, x, PAINT_DIM, "%012" PRIx64 " ", superslab->base);
    for (unsigned i = 0; i < HK_UNITS_PER_SUPERSLAB; i++) {
        const char letter[] = {unit_letter(&superslab->units[i]), '\0'};
        enum paint paint = letter[0] == '.' || letter[0] == '-' ? PAINT_DIM : letter[0] == 'L' ? PAINT_BAR : PAINT_GOOD;
        x = draw_text(y, x, paint, letter);
    }
}

void panel_map(struct area area, const struct tick_process *process, bool is_record, size_t *offset)
{
    enum { WIDTH = 12 + 1 + HK_UNITS_PER_SUPERSLAB + 2 };
    struct occupancy occupancy;
    char error[OCCUPANCY_ERROR_SIZE] = "a record doesn't hold it: it is read from the running process's memory";
    draw_text(area.top++, 0, PAINT_BOLD,
              "SuperSlabs of 2 MiB, a letter for each 64 KiB: L a large block, - dirty, . free");
    if (is_record || !occupancy_read(&process->info, &occupancy, error)) {
        draw_format(area.top, 0, PAINT_PLAIN, "Not shown: %s", error);
        return;
    }
    draw_text(area.top++, 0, PAINT_DIM, "0..9 tenths of a slab's blocks that are in use or cached, # all of them");
    size_t per_line = COLS / WIDTH < 1 ? 1 : (size_t)(COLS / WIDTH);
    size_t all = (occupancy.count + per_line - 1) / per_line,
           height = area.bottom > area.top ? (size_t)(area.bottom - area.top) : 0;
    *offset = all <= height ? 0 : *offset < all - height ? *offset : all - height;
    for (size_t i = *offset * per_line; i < occupancy.count && i / per_line - *offset < height; i++)
        draw_superslab(area.top + (int)(i / per_line - *offset), (int)(i % per_line) * WIDTH, &occupancy.superslabs[i]);
    if (occupancy.count == 0)
        draw_text(area.top, 0, PAINT_PLAIN, "none");
    if (occupancy.more)
        draw_format(area.top - 1, 0, PAINT_BOLD, "the first %u of them; 0..9 tenths of a slab in use or cached, # all",
                    OCCUPANCY_MOST);
    occupancy_free(&occupancy);
}

/* ---- stacks ---- */

struct shown_callers {
    const struct callers *callers;
    const struct symbols *symbols;
};

static void put_callers(struct lines *lines, const void *what)
{
    const struct shown_callers *shown = what;
    for (size_t i = 0; i < shown->callers->count; i++) {
        const struct caller *caller = &shown->callers->list[i];
        char failure[CELL_SIZE], name[SYMBOLS_NAME_SIZE];
        callers_failure(&caller->key, failure, sizeof failure);
        lines_put(lines, PAINT_BOLD, "%" PRIu64 " times: %s", caller->stack.count, failure);
        for (unsigned k = 0; k < HK_STACK_DEPTH && caller->stack.frames[k] != 0; k++) {
            symbols_name(shown->symbols, caller->stack.frames[k], k > 0, name);
            lines_put(lines, PAINT_PLAIN, "    %s", name);
        }
    }
    if (shown->callers->count == 0)
        lines_put(lines, PAINT_PLAIN, "none: no allocation has failed since the attach");
}

void panel_stacks(struct area area, const struct tick_process *process, const char *pin_dir, size_t *offset)
{
    struct callers callers;
    char error[CALLERS_ERROR_SIZE] = "a record doesn't hold them";
    draw_text(area.top++, 0, PAINT_BOLD, "Callers whose allocations failed, since attach");
    if (pin_dir == NULL || !callers_read(pin_dir, &process->info.key, &callers, error)) {
        draw_format(area.top, 0, PAINT_PLAIN, "Not shown: %s", error);
        return;
    }
    struct symbols *symbols = symbols_of(&process->info.key);
    lines_scroll(area, offset, put_callers, &(struct shown_callers){&callers, symbols});
    symbols_free(symbols);
    callers_free(&callers);
}
