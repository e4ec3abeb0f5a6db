#include "lines.h"

#include <stdio.h>

int lines_put(struct lines *lines, enum paint paint, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t line = lines->count++;
    if (line < lines->offset || line - lines->offset >= (size_t)(lines->area.bottom - lines->area.top))
        return -1;
    int y = lines->area.top + (int)(line - lines->offset);
    draw_text(y, 0, paint, text);
    return y;
}

void lines_scroll(struct area area, size_t *offset, void (*put)(struct lines *lines, const void *what),
                  const void *what)
{
    struct lines counted = {.area = {0, 0}}, lines = {.area = area};
    put(&counted, what);
    size_t height = area.bottom > area.top ? (size_t)(area.bottom - area.top) : 0;
    size_t most = counted.count > height ? counted.count - height : 0;
    if (height == 0)
        return;
    *offset = *offset < most ? *offset : most;
    lines.offset = *offset;
    put(&lines, what);
}
