/* json.h - a tick as one JSON object, and back. The format is told in hkstat(1); JSON_VERSION is its number. */
#ifndef HKSTAT_JSON_H
#define HKSTAT_JSON_H

#include <stdbool.h>
#include <stdio.h>

#include "tick.h"

#define JSON_VERSION 1

/* Write the tick and a newline. */
void json_write(FILE *out, const struct tick *tick);

/* The tick, neither finished nor compared, that `text` of `len` bytes tells; NULL if it isn't one, with what is wrong in `error`
 * of JSON_ERROR_SIZE bytes. Whatever the text, nothing in the tick is out of range. */
#define JSON_ERROR_SIZE 256
struct tick *json_decode(const char *text, size_t len, char *error);

#endif
