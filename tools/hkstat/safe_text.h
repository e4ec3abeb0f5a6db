/* safe_text.h - names that other processes chose, made fit to print: UTF-8 without control, format or direction characters.
 * What is not fit is written \xNN byte by byte, a backslash as two, so that no two names read the same. */
#ifndef HKSTAT_SAFE_TEXT_H
#define HKSTAT_SAFE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes that the safe text of `n` bytes takes at most, its end included. */
#define SAFE_TEXT_SIZE(n) (4 * (n) + 1)

/* Write the safe text of `bytes`, up to the first NUL or to `len` bytes, to `out` of SAFE_TEXT_SIZE(len) bytes. */
void safe_text(char *out, const char *bytes, size_t len);

/* Whether `text` is what safe_text() may have written. */
bool safe_text_check(const char *text);

/* Write as much of a safe text as fits in `width` columns to `out` of `size` bytes; cut off, it ends in '+'. Unless `utf8`,
 * what is not ASCII is written \xNN. Returns the columns used. */
int safe_text_fit(char *out, size_t size, const char *text, int width, bool utf8);

#endif
