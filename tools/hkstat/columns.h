/* columns.h - the columns of the tables of processes and of size classes: plain text and the dashboard show the same ones.
 * In a first tick, which has no rates, a column of rates shows the count, and its title loses its "/s". */
#ifndef HKSTAT_COLUMNS_H
#define HKSTAT_COLUMNS_H

#include "tick.h"

#define CELL_SIZE 64

enum table_kind { TABLE_PROCESSES, TABLE_CLASSES, TABLE_ENDED, TABLES };

struct column {
    const char *title; /* as in "alloc/s" */
    int width;         /* columns of the screen, the space before it included; negative: aligned left */
    bool is_rate;
    /* What the cell shows, and what the table is sorted by; NAN: not known. A row is a tick_process, tick_class or tick_ended. */
    double (*value)(const struct tick *tick, const void *row);
    void (*print)(char *out, double value);
    const char *(*text)(const void *row); /* a column of text, which sorts by text; NULL: of numbers */
};

struct table {
    const struct column *columns;
    size_t count;
    size_t first_sort; /* the column that it is sorted by at first */
};

extern const struct table tables[TABLES]; /* by enum table_kind */

/* Write the column's title, or a row's cell, to `out` of `size` bytes: |width| columns wide. */
void column_title(const struct column *column, const struct tick *tick, char *out, size_t size);
void column_cell(const struct column *column, const struct tick *tick, const void *row, bool utf8, char *out,
                 size_t size);

/* Numbers as the tables show them; `out` has CELL_SIZE bytes, NAN is "-". */
void print_number(char *out, double value);  /* 4 digits at most: 9999, 12.3k, 1.23M */
void print_bytes(char *out, double value);   /* the same in powers of 1024 */
void print_percent(char *out, double value); /* of 1: "99.8"; "100" only if it is all */

/* The rows of a table, in order: pointers into the tick. `descending`: the greatest first. Rows that are equal, and those
 * of which nothing is known, stay in the tick's order, the latter last. Returns how many, in an array to be freed. */
size_t table_rows(enum table_kind kind, const struct tick *tick, const struct tick_process *process, size_t sort,
                  bool descending, const void ***rows);

#endif
