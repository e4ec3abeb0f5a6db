/* output.h - ticks as lines: vmstat's way, as a table, as CSV. JSON has files of its own. */
#ifndef HKSTAT_OUTPUT_H
#define HKSTAT_OUTPUT_H

#include <stdio.h>

#include "tick.h"

/* One line a tick, the sum of all its processes; counts if it has no interval, else rates. `header`: titles first. */
void output_line(FILE *out, const struct tick *tick, bool header);

/* A line for each process, or, of the process with `pid` (not 0), for each size class. */
void output_table(FILE *out, const struct tick *tick, uint64_t pid, bool utf8);

/* A line for each process, RFC 4180, after a line of names if `header`. What isn't known is empty. */
void output_csv(FILE *out, const struct tick *tick, bool header);

#endif
