/* size_text.h - numbers of bytes for people. */
#ifndef HKSTAT_SIZE_TEXT_H
#define HKSTAT_SIZE_TEXT_H

#include <stdint.h>

struct size_text {
    char text[32];
};

/* "278 KiB", "1.2 GiB": three digits of it. */
struct size_text size_text(uint64_t bytes);

#endif
