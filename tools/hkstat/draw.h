/* draw.h - text, bars and curves on the screen, cut off at its edge. The screen is ncurses' stdscr, initialised. */
#ifndef HKSTAT_DRAW_H
#define HKSTAT_DRAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum paint { PAINT_PLAIN, PAINT_BOLD, PAINT_DIM, PAINT_BAR, PAINT_GOOD, PAINT_BAD, PAINT_TITLE, PAINT_SELECTED };

/* Once, after initscr(). Colours unless NO_COLOR is set to something (no-color.org) or the terminal has none. */
void draw_init(bool utf8);

/* Safe text at column x of line y; the rest of the line is left as it is. Returns the column after it. */
int draw_text(int y, int x, enum paint paint, const char *text);
int draw_format(int y, int x, enum paint paint, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The paint to the end of the line. */
void draw_fill(int y, int x, enum paint paint);

/* A bar of `share` (0..1) of `width` columns; something shows unless the share is 0. */
void draw_bar(int y, int x, int width, double share, enum paint paint);

/* Which buckets of a histogram there are to draw, from the first to the last that isn't 0, and the greatest. False: all are 0. */
bool draw_range(const uint64_t *counts, size_t length, size_t *first, size_t *last, uint64_t *most);

/* The last `width` of `count` values as a curve one line high, its top at the greatest; NAN leaves a gap. */
void draw_curve(int y, int x, int width, const float *values, size_t count);

#endif
