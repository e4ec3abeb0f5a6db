/* map_lines.h - how many mappings the process has, and what lies in front of one, by /proc/self/maps. */
#ifndef HK_TESTS_MAP_LINES_H
#define HK_TESTS_MAP_LINES_H

#include <stdbool.h>
#include <stdint.h>
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

/* Whether a mapping that can't be touched ends where the one that holds ptr begins. */
static inline bool is_fronted(const void *ptr)
{
    char line[512], rights[5];
    unsigned long from, to, unreadable_to = 0;
    bool fronted = false, found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && !found && fgets(line, sizeof line, maps) != NULL) {
        if (sscanf(line, "%lx-%lx %4s", &from, &to, rights) != 3)
            continue;
        found = from <= (uintptr_t)ptr && (uintptr_t)ptr < to;
        fronted = found && unreadable_to == from;
        unreadable_to = rights[0] == '-' ? to : 0;
    }
    if (!found)
        abort();
    fclose(maps);
    return fronted;
}

#endif
