/* panels.h - what the dashboard shows of one process, and the tables it shares with the list of all. Draws, and nothing else:
 * what is shown is told by the arguments. */
#ifndef HKSTAT_PANELS_H
#define HKSTAT_PANELS_H

#include "columns.h"
#include "history.h"
#include "lines.h"
#include "tick.h"

enum panel { PANEL_CLASSES, PANEL_HISTOGRAMS, PANEL_EVENTS, PANEL_HISTORY, PANEL_MAP, PANEL_STACKS, PANELS };

extern const char *const panel_names[PANELS];

/* How a table is looked at. `selected` and `offset` are brought within bounds by panel_table(). */
struct table_view {
    size_t sort;
    bool descending;
    size_t selected; /* row */
    size_t offset;   /* first row on the screen */
};

/* Draw `count` rows of a table, the selected one marked and on the screen. */
void panel_table(struct area area, enum table_kind kind, const struct tick *tick, const void *const *rows, size_t count,
                 struct table_view *view, bool utf8);

/* Histograms and failures of one class, or, if NULL, of all classes of the process. `offset`: first line, as above. */
void panel_histograms(struct area area, const struct tick_process *process, const struct tick_class *class);
void panel_events(struct area area, const struct tick_process *process, size_t *offset);
void panel_ended(struct area area, const struct tick_ended *ended, size_t *offset);
void panel_history(struct area area, const struct tick_process *process, const struct history *history);
void panel_map(struct area area, const struct tick_process *process, bool is_record, size_t *offset);

/* pin_dir: NULL for a record. */
void panel_stacks(struct area area, const struct tick_process *process, const char *pin_dir, size_t *offset);

#endif
