#include "dashboard.h"

#include <ctype.h>
#include <curses.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "draw.h"
#include "history.h"
#include "panels.h"

#define FILTER_SIZE 64
#define LEAST_INTERVAL_MS 125u
#define FIRST_INTERVAL_MS 1000u
#define MOST_INTERVAL_MS 64000u
#define KEY_ESCAPE 27
#define KEY_CONTROL_L 12

enum view { VIEW_PROCESSES, VIEW_ENDED, VIEW_PROCESS, VIEW_EXECUTABLE };

struct dashboard {
    struct source *source;
    const struct tick *tick;
    struct history *history;
    bool utf8;
    enum source_result result; /* of the last try for a tick */
    char message[SOURCE_ERROR_SIZE];
    uint64_t interval_ms;
    uint64_t due_ms; /* when the next tick is */
    bool paused, help, filtering, quit;
    char filter[FILTER_SIZE];

    enum view view;
    enum panel panel;
    struct table_view tables[TABLES];
    struct hk_process_key opened;
    struct hk_executable opened_executable;
    size_t histogram; /* 0: all classes, else the class's place + 1 */
    size_t offset;    /* of the panels that scroll by lines */

    /* The rows on the screen. */
    const void **rows;
    size_t row_count;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- state ---- */

static bool contains(const char *text, const char *part)
{
    return strcasestr(text, part) != NULL;
}

static bool passes_filter(const struct dashboard *board, const struct tick_process *process)
{
    char pid[24];
    snprintf(pid, sizeof pid, "%" PRIu64, process->info.key.pid);
    return contains(process->comm, board->filter) || contains(process->executable, board->filter) ||
           contains(pid, board->filter);
}

static enum table_kind kind_of(const struct dashboard *board)
{
    return board->view == VIEW_PROCESSES ? TABLE_PROCESSES : board->view == VIEW_PROCESS ? TABLE_CLASSES : TABLE_ENDED;
}

/* A list that was opened by itself, or one of what is in it. */
static bool is_list(const struct dashboard *board)
{
    return board->view == VIEW_PROCESSES || board->view == VIEW_ENDED;
}

static struct tick_process *opened_process(const struct dashboard *board)
{
    return tick_find(board->tick, &board->opened);
}

static const struct tick_ended *opened_executable(const struct dashboard *board)
{
    for (size_t i = 0; i < board->tick->ended_count; i++) {
        if (memcmp(&board->tick->ended[i].executable, &board->opened_executable, sizeof board->opened_executable) == 0)
            return &board->tick->ended[i];
    }
    return NULL;
}

/* Whether a row is what the selection was on when the rows were made last. */
static bool was_selected(const struct dashboard *board, const void *row)
{
    const struct tick_process *process = row;
    const struct tick_ended *ended = row;
    if (board->view == VIEW_PROCESSES)
        return memcmp(&process->info.key, &board->opened, sizeof board->opened) == 0;
    return memcmp(&ended->executable, &board->opened_executable, sizeof board->opened_executable) == 0;
}

/* Make the rows anew; the selection stays on the row's process or class while the order changes around it. */
static void make_rows(struct dashboard *board, bool keep)
{
    enum table_kind kind = kind_of(board);
    struct table_view *view = &board->tables[kind];
    const struct tick_process *process = kind == TABLE_CLASSES ? opened_process(board) : NULL;
    free(board->rows);
    board->rows = NULL;
    board->row_count = 0;
    if (kind == TABLE_CLASSES && process == NULL)
        return;
    size_t count = table_rows(kind, board->tick, process, view->sort, view->descending, &board->rows);
    for (size_t i = 0; i < count; i++) {
        if (kind != TABLE_PROCESSES || passes_filter(board, board->rows[i]))
            board->rows[board->row_count++] = board->rows[i];
    }
    if (!is_list(board) || !keep)
        return;
    for (size_t i = 0; i < board->row_count; i++) {
        if (was_selected(board, board->rows[i]))
            view->selected = i;
    }
}

/* Remember what the selection is on. */
static void note_selected(struct dashboard *board)
{
    const struct table_view *view = &board->tables[kind_of(board)];
    if (!is_list(board) || view->selected >= board->row_count)
        return;
    if (board->view == VIEW_PROCESSES)
        board->opened = ((const struct tick_process *)board->rows[view->selected])->info.key;
    else
        board->opened_executable = ((const struct tick_ended *)board->rows[view->selected])->executable;
}

static void next_tick(struct dashboard *board)
{
    bool is_record = source_is_record(board->source);
    board->result = source_next(board->source, &board->tick, board->message);
    if (board->result == SOURCE_TICK)
        history_add(board->history, board->tick);
    if (board->result == SOURCE_END && board->message[0] == '\0')
        snprintf(board->message, sizeof board->message, "the record ends here");
    if (is_record && board->result != SOURCE_TICK)
        board->paused = true;
    uint64_t wait = is_record ? board->tick->interval_ms : board->interval_ms;
    board->due_ms = now_ms() + (wait > 0 ? wait : FIRST_INTERVAL_MS);
    make_rows(board, true);
}

/* ---- drawing ---- */

static void draw_head(const struct dashboard *board)
{
    const struct tick *tick = board->tick;
    char clock[32] = "", live[CELL_SIZE], rates[4][CELL_SIZE];
    time_t seconds = (time_t)(tick->time_ms / 1000);
    struct tm local;
    if (localtime_r(&seconds, &local) != NULL)
        strftime(clock, sizeof clock, "%H:%M:%S", &local);
    uint64_t lost = tick_sum(tick->lost, HK_LOST_REASONS);
    int x = draw_format(0, 0, PAINT_BOLD, "hkstat %s ", clock);
    x = draw_format(
        0, x, PAINT_PLAIN, " %s %.3gs  processes %zu  ", source_is_record(board->source) ? "record" : "every",
        (double)(source_is_record(board->source) ? tick->interval_ms : board->interval_ms) / 1e3, tick->process_count);
    x = draw_format(0, x, lost != 0 ? PAINT_BAD : PAINT_PLAIN, "lost %" PRIu64 " ", lost);
    uint64_t misuses = tick_misuses(tick);
    if (misuses != 0)
        x = draw_format(0, x, PAINT_BAD, " misuse %" PRIu64 " ", misuses);
    if (!tick->refreshed)
        x = draw_text(0, x, PAINT_DIM, " lagging");
    if (board->paused)
        x = draw_text(0, x, PAINT_SELECTED, " paused ");
    if (board->filter[0] != '\0')
        draw_format(0, x, PAINT_BOLD, " filter '%s'", board->filter);

    bool first = tick->interval_ms == 0;
    static const enum tick_rate shown[] = {RATE_ALLOCS, RATE_MISSES, RATE_DRAINS};
    for (size_t i = 0; i < 3; i++)
        print_number(rates[i], first ? (double)tick_count(&tick->total.account, shown[i])
                                     : tick_per_s(tick, &tick->change, shown[i]));
    print_percent(rates[3], first ? tick_hit_rate(tick->total.account.allocs, tick->total.account.misses)
                                  : tick_interval_hit_rate(&tick->change));
    print_bytes(live, (double)tick_live_bytes(&tick->total.account));
    const char *per = first ? "" : "/s";
    draw_format(1, 0, PAINT_PLAIN, "all: alloc%s %s  hit%% %s  miss%s %s  drain%s %s  live %s%s", per, rates[0],
                rates[3], per, rates[1], per, rates[2], live, first ? "  (since start)" : "");
}

static void draw_foot(const struct dashboard *board)
{
    int y = LINES - 1;
    if (board->filtering)
        draw_format(y, 0, PAINT_BOLD, "filter (Enter keeps, Esc clears): %s_", board->filter);
    else if (board->result != SOURCE_TICK)
        draw_text(y, 0, PAINT_BAD, board->message);
    else if (board->view == VIEW_PROCESSES)
        draw_text(y, 0, PAINT_DIM, "? help  Enter open  e ended  <> sort  / filter  Space pause  +- interval  q quit");
    else if (board->view == VIEW_ENDED)
        draw_text(y, 0, PAINT_DIM, "? help  Enter open  e processes  <> sort  Space pause  Esc back  q quit");
    else if (board->view == VIEW_EXECUTABLE)
        draw_text(y, 0, PAINT_DIM, "? help  j k scroll  Space pause  +- interval  Esc back  q quit");
    else
        draw_text(y, 0, PAINT_DIM, "? help  Tab panel  <> sort  Space pause  +- interval  Esc back  q quit");
}

static void draw_help(struct area area)
{
    static const char *const lines[] = {
        "up down j k     select, or scroll       Home End PgUp PgDn   further",
        "Enter           open a process          Esc Backspace        back to all",
        "e               processes that ended, by executable",
        "Tab left right  another panel           1 2 3 4 5 6          that panel",
        "< >             sort by another column  r                    the other way",
        "/               filter by name or pid   Space p              pause",
        "+ -             interval                n                    step, in a pause",
        "? h F1          this help               q F10                quit",
        "",
        "alloc/s hit% miss/s drain/s  of the thread caches; hits are counted exactly",
        "fallb/s   requests that the shared pool passed on to legacy",
        "fail/s    ACE could not serve from a cache, or NULL was returned",
        "live      bytes in blocks that the program has, whole blocks",
        "mapped    bytes from the kernel; - until an event tells it",
        "slabhit%  refills that were served by a slab that the class already held",
        "",
        "In the first tick counts stand in place of rates. hkstat(1) tells more.",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0] && area.top < area.bottom; i++)
        draw_text(area.top++, 1, PAINT_PLAIN, lines[i]);
}

static void draw_process(struct dashboard *board, struct area area)
{
    const struct tick_process *process = opened_process(board);
    if (process == NULL) {
        draw_format(area.top, 0, PAINT_BAD, "process %" PRIu64 " has ended: Esc goes back", board->opened.pid);
        return;
    }
    int x = draw_format(area.top, 0, PAINT_BOLD, "%" PRIu64 " %s ", process->info.key.pid, process->comm);
    for (enum panel panel = 0; panel < PANELS; panel++)
        x = draw_format(area.top, x, panel == board->panel ? PAINT_SELECTED : PAINT_PLAIN, " %u %s ", panel + 1,
                        panel_names[panel]);
    area.top++;
    switch (board->panel) {
    case PANEL_CLASSES:
        panel_table(area, TABLE_CLASSES, board->tick, board->rows, board->row_count, &board->tables[TABLE_CLASSES],
                    board->utf8);
        break;
    case PANEL_HISTOGRAMS:
        if (board->histogram > process->class_count)
            board->histogram = process->class_count;
        panel_histograms(area, process, board->histogram == 0 ? NULL : &process->classes[board->histogram - 1]);
        break;
    case PANEL_EVENTS:
        panel_events(area, process, &board->offset);
        break;
    case PANEL_HISTORY:
        panel_history(area, process, board->history);
        break;
    case PANEL_MAP:
        panel_map(area, process, source_is_record(board->source), &board->offset);
        break;
    case PANEL_STACKS:
        panel_stacks(area, process, source_pins(board->source), &board->offset);
        break;
    case PANELS:
        break;
    }
}

static void draw_executable(struct dashboard *board, struct area area)
{
    const struct tick_ended *ended = opened_executable(board);
    if (ended == NULL) { /* after a detach */
        draw_text(area.top, 0, PAINT_BAD, "nothing is known of it any more: Esc goes back");
        return;
    }
    draw_format(area.top++, 0, PAINT_BOLD, "%s: %" PRIu64 " processes that ended", ended->name,
                ended->sums.totals.processes);
    panel_ended(area, ended, &board->offset);
}

static void draw(struct dashboard *board)
{
    struct area area = {2, LINES - 1};
    erase();
    draw_head(board);
    if (board->help)
        draw_help(area);
    else if (board->view == VIEW_PROCESS)
        draw_process(board, area);
    else if (board->view == VIEW_EXECUTABLE)
        draw_executable(board, area);
    else
        panel_table(area, kind_of(board), board->tick, board->rows, board->row_count, &board->tables[kind_of(board)],
                    board->utf8);
    draw_foot(board);
    note_selected(board);
    refresh();
}

/* ---- keys ---- */

/* What j, k and their kin move in what is on the screen. */
static size_t *moved(struct dashboard *board)
{
    if (is_list(board) || (board->view == VIEW_PROCESS && board->panel == PANEL_CLASSES))
        return &board->tables[kind_of(board)].selected;
    return board->view == VIEW_PROCESS && board->panel == PANEL_HISTOGRAMS ? &board->histogram : &board->offset;
}

/* What is drawn brings it back within bounds from above. */
static void move_by(struct dashboard *board, long step)
{
    enum { FAR = 1 << 24 };
    size_t *position = moved(board);
    if (step < 0 && *position < (size_t)-step)
        *position = 0;
    else if (*position < FAR)
        *position += (size_t)step;
}

static void sort_by(struct dashboard *board, int step)
{
    enum table_kind kind = kind_of(board);
    struct table_view *view = &board->tables[kind];
    size_t count = tables[kind].count;
    view->sort = (view->sort + count + (size_t)step) % count;
    view->descending = tables[kind].columns[view->sort].is_rate ||
                       tables[kind].columns[view->sort].print == print_bytes;
    make_rows(board, true);
}

static void show_panel(struct dashboard *board, enum panel panel)
{
    if (board->view != VIEW_PROCESS)
        return;
    board->panel = panel;
    board->offset = 0;
}

/* Open what is selected. */
static void open_row(struct dashboard *board)
{
    if (!is_list(board) || board->row_count == 0)
        return;
    board->offset = 0;
    if (board->view == VIEW_ENDED) {
        board->view = VIEW_EXECUTABLE;
        return;
    }
    board->view = VIEW_PROCESS;
    board->panel = PANEL_CLASSES;
    board->histogram = 0;
    board->tables[TABLE_CLASSES].selected = 0;
    make_rows(board, false);
}

static void go_back(struct dashboard *board)
{
    if (board->view == VIEW_PROCESSES)
        board->filter[0] = '\0';
    board->view = board->view == VIEW_EXECUTABLE ? VIEW_ENDED : VIEW_PROCESSES;
    make_rows(board, true);
}

static void show_ended(struct dashboard *board)
{
    if (is_list(board)) {
        board->view = board->view == VIEW_PROCESSES ? VIEW_ENDED : VIEW_PROCESSES;
        make_rows(board, true);
    }
}

static void edit_filter(struct dashboard *board, int key)
{
    size_t length = strlen(board->filter);
    if (key == '\n' || key == '\r' || key == KEY_ENTER) {
        board->filtering = false;
    } else if (key == KEY_ESCAPE) {
        board->filtering = false;
        board->filter[0] = '\0';
    } else if (key == KEY_BACKSPACE || key == 127 || key == '\b') {
        if (length > 0)
            board->filter[length - 1] = '\0';
    } else if (key >= ' ' && key < 127 && length + 1 < FILTER_SIZE) {
        board->filter[length] = (char)key;
        board->filter[length + 1] = '\0';
    }
    board->tables[TABLE_PROCESSES].selected = 0;
    make_rows(board, false);
}

static void change_interval(struct dashboard *board, bool longer)
{
    uint64_t interval = longer ? board->interval_ms * 2 : board->interval_ms / 2;
    if (interval >= LEAST_INTERVAL_MS && interval <= MOST_INTERVAL_MS)
        board->interval_ms = interval;
    if (!source_is_record(board->source))
        board->due_ms = now_ms() + board->interval_ms;
}

static void pause_or_go(struct dashboard *board)
{
    board->paused = !board->paused;
    if (!board->paused)
        board->due_ms = now_ms();
}

static void handle_movement(struct dashboard *board, int key)
{
    long page = LINES > 5 ? LINES - 5 : 1;
    switch (key) {
    case KEY_DOWN:
    case 'j':
        move_by(board, 1);
        break;
    case KEY_UP:
    case 'k':
        move_by(board, -1);
        break;
    case KEY_NPAGE:
        move_by(board, page);
        break;
    case KEY_PPAGE:
        move_by(board, -page);
        break;
    case KEY_HOME:
    case 'g':
        *moved(board) = 0;
        break;
    case KEY_END:
    case 'G':
        move_by(board, 1 << 23);
        break;
    case '\t':
    case KEY_RIGHT:
        show_panel(board, (board->panel + 1) % PANELS);
        break;
    case KEY_BTAB:
    case KEY_LEFT:
        show_panel(board, (board->panel + PANELS - 1) % PANELS);
        break;
    default:
        if (key >= '1' && key < '1' + PANELS)
            show_panel(board, (enum panel)(key - '1'));
        break;
    }
}

static void handle_key(struct dashboard *board, int key)
{
    if (board->filtering) {
        edit_filter(board, key);
        return;
    }
    bool had_help = board->help;
    board->help = false;
    switch (key) {
    case 'q':
    case KEY_F(10):
        board->quit = true;
        break;
    case '?':
    case 'h':
    case KEY_F(1):
        board->help = !had_help;
        break;
    case '\n':
    case '\r':
    case KEY_ENTER:
        open_row(board);
        break;
    case 'e':
        show_ended(board);
        break;
    case KEY_ESCAPE:
    case KEY_BACKSPACE:
    case 127:
        if (!had_help)
            go_back(board);
        break;
    case '<':
    case ',':
        sort_by(board, -1);
        break;
    case '>':
    case '.':
        sort_by(board, 1);
        break;
    case 'r':
        board->tables[kind_of(board)].descending = !board->tables[kind_of(board)].descending;
        make_rows(board, true);
        break;
    case '/':
        board->filtering = board->view == VIEW_PROCESSES;
        break;
    case ' ':
    case 'p':
        pause_or_go(board);
        break;
    case 'n':
        if (board->paused)
            next_tick(board);
        break;
    case '+':
    case '=':
        change_interval(board, true);
        break;
    case '-':
        change_interval(board, false);
        break;
    case KEY_CONTROL_L:
        clearok(curscr, TRUE);
        break;
    default:
        handle_movement(board, key);
        break;
    }
}

/* ---- the loop ---- */

static void run(struct dashboard *board, volatile const sig_atomic_t *stop_signal)
{
    while (!board->quit && *stop_signal == 0) {
        draw(board);
        uint64_t now = now_ms();
        int wait = board->paused ? 1000 : board->due_ms > now ? (int)(board->due_ms - now) : 0;
        timeout(wait < 1000 ? wait : 1000); /* a signal that comes just before the wait is seen after it */
        int key = getch();
        if (key != ERR && key != KEY_RESIZE)
            handle_key(board, key);
        if (!board->paused && now_ms() >= board->due_ms)
            next_tick(board);
    }
}

enum source_result dashboard_run(struct source *source, const struct tick *tick, uint64_t pid, bool utf8,
                                 volatile const sig_atomic_t *stop_signal, char *error)
{
    struct dashboard board = {
        .source = source,
        .tick = tick,
        .utf8 = utf8,
        .history = history_new(),
        .interval_ms = FIRST_INTERVAL_MS,
        .due_ms = now_ms() + FIRST_INTERVAL_MS,
        .tables = {{.sort = tables[TABLE_PROCESSES].first_sort, .descending = true},
                   {.sort = 0},
                   {.sort = tables[TABLE_ENDED].first_sort, .descending = true}},
    };
    error[0] = '\0';
    SCREEN *screen = newterm(NULL, stdout, stdin);
    if (screen == NULL) {
        snprintf(error, SOURCE_ERROR_SIZE,
                 "this terminal (TERM) can't show a dashboard: give an interval, such as 'hkstat 1'");
        history_free(board.history);
        return SOURCE_FAILED;
    }
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    set_escdelay(50);
    curs_set(0);
    draw_init(utf8);
    history_add(board.history, tick);
    const struct tick_process *process = pid != 0 ? tick_find_pid(tick, pid) : NULL;
    make_rows(&board, false);
    if (process != NULL) {
        board.opened = process->info.key;
        open_row(&board);
    }
    run(&board, stop_signal);
    endwin();
    delscreen(screen);
    free(board.rows);
    history_free(board.history);
    return SOURCE_END;
}
