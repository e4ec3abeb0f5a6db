/* output.h - a profile as people and programs read it. The profile is sorted. */
#ifndef HKHEAP_OUTPUT_H
#define HKHEAP_OUTPUT_H

#include <stdio.h>

#include "profile.h"

/* What the amounts of one kind are called: "live", "allocated", "growth". */
extern const char *const order_names[];

/* A table: `top` sites (0: all), each with its stack and how long its blocks lived. */
void output_text(FILE *out, const struct profile *profile, enum profile_order order, size_t top);

/* A line for each stack, outermost first, and its bytes: what flamegraph.pl and speedscope read. Growth below 0 is left out. */
void output_folded(FILE *out, const struct profile *profile, enum profile_order order);

/* A flame graph in a file of its own: any browser shows it; a click zooms, Ctrl-F
 * searches, and so do #z=FUNCTION and #s=TEXT behind its address. */
void output_svg(FILE *out, const struct profile *profile, enum profile_order order);

/* pprof's profile.proto, gzipped: live and allocated, in blocks and bytes. False: it could not be written. */
bool output_pprof(FILE *out, const struct profile *profile);

/* JSON, and back: NULL with what is wrong in `error`, of PROFILE_ERROR_SIZE bytes. The format is told in hkheap(1). */
#define PROFILE_JSON_VERSION 1
#define PROFILE_ERROR_SIZE 256
void output_json(FILE *out, const struct profile *profile);
struct profile *profile_read(const char *path, char *error);

/* What is in `after` and not in `before`, as a profile of which growth tells; sites of both. */
void profile_compare(struct profile *after, const struct profile *before);

/* The name of a frame: its function or, unknown, its address, and its file. */
#define FRAME_NAME_SIZE 900
void frame_name(const struct frame *frame, bool with_offset, char *out);

#endif
