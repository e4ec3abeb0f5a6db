#include "size_text.h"

#include <inttypes.h>
#include <stdio.h>

struct size_text size_text(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    struct size_text size;
    unsigned unit = 0;
    double value = (double)bytes;
    for (; value >= 1000 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        value /= 1024;
    snprintf(size.text, sizeof size.text, "%.*f %s",
             unit == 0 || value >= 100 ? 0
             : value >= 10             ? 1
                                       : 2,
             value, units[unit]);
    return size;
}
