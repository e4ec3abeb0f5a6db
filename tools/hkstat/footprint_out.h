/* footprint_out.h - a footprint as text, JSON and pictures. */
#ifndef HKSTAT_FOOTPRINT_OUT_H
#define HKSTAT_FOOTPRINT_OUT_H

#include <stdio.h>

#include "footprint.h"

#define FOOTPRINT_JSON_VERSION 1

/* What is shown with it: of which process, or which core file. */
struct footprint_view {
    const struct address_space *space;
    const struct footprint *footprint;
    const char *core; /* the core file's path; NULL: of a process */
};

void footprint_text(FILE *out, const struct footprint_view *view);
void footprint_json(FILE *out, const struct footprint_view *view);

/* The SuperSlabs, one a line, each unit by a character: how much of it is in use. */
void footprint_map(FILE *out, const struct footprint_view *view);

/* The same as one self-contained SVG, with the rows as a bar above. */
void footprint_svg(FILE *out, const struct footprint_view *view);

#endif
