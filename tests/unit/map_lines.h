/* map_lines.h - how many mappings the process has, by /proc/self/maps. */
#ifndef HK_TESTS_MAP_LINES_H
#define HK_TESTS_MAP_LINES_H

#include <stdio.h>
#include <stdlib.h>

static inline size_t map_lines(void)
{
    size_t lines = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    if (maps == NULL)
        abort();
    for (int c; (c = getc(maps)) != EOF;)
        lines += c == '\n';
    fclose(maps);
    return lines;
}

#endif
