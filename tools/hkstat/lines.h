/* lines.h - lines of text that scroll within an area of the screen. */
#ifndef HKSTAT_LINES_H
#define HKSTAT_LINES_H

#include <stdarg.h>

#include "draw.h"

/* Lines top to bottom - 1 of the screen. */
struct area {
    int top, bottom;
};

struct lines {
    struct area area;
    size_t offset; /* so many are above the area */
    size_t count;  /* that were put, seen or not */
};

/* Put the next line. Returns its line of the screen; -1: it is outside of the area. */
int lines_put(struct lines *lines, enum paint paint, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Put what `put` puts, scrolled by *offset, which is brought within bounds: the end is not scrolled out of sight. */
void lines_scroll(struct area area, size_t *offset, void (*put)(struct lines *lines, const void *what),
                  const void *what);

#endif
