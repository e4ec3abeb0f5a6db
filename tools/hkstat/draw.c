#include "draw.h"

#include <curses.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "safe_text.h"

#define TEXT_SIZE 1024
#define STEPS 8 /* of a column's width, or height */

static bool drawn_utf8;
static attr_t paints[] = {
    [PAINT_PLAIN] = A_NORMAL, [PAINT_BOLD] = A_BOLD, [PAINT_DIM] = A_DIM,       [PAINT_BAR] = A_NORMAL,
    [PAINT_GOOD] = A_NORMAL,  [PAINT_BAD] = A_BOLD,  [PAINT_TITLE] = A_REVERSE, [PAINT_SELECTED] = A_REVERSE | A_BOLD,
};

void draw_init(bool utf8)
{
    static const struct {
        enum paint paint;
        short color;
    } colors[] = {{PAINT_BAR, COLOR_CYAN}, {PAINT_GOOD, COLOR_GREEN}, {PAINT_BAD, COLOR_RED}};
    drawn_utf8 = utf8;
    const char *no_color = getenv("NO_COLOR");
    if ((no_color != NULL && no_color[0] != '\0') || !has_colors() || start_color() != OK)
        return;
    short background = use_default_colors() == OK ? -1 : COLOR_BLACK;
    for (short i = 0; i < (short)(sizeof colors / sizeof colors[0]); i++) {
        init_pair((short)(i + 1), colors[i].color, background);
        paints[colors[i].paint] |= COLOR_PAIR(i + 1);
    }
}

int draw_text(int y, int x, enum paint paint, const char *text)
{
    char fit[TEXT_SIZE];
    if (y < 0 || y >= LINES || x < 0 || x >= COLS)
        return x;
    int used = safe_text_fit(fit, sizeof fit, text, COLS - x, drawn_utf8);
    attrset(paints[paint]);
    mvaddstr(y, x, fit);
    attrset(A_NORMAL);
    return x + used;
}

int draw_format(int y, int x, enum paint paint, const char *format, ...)
{
    char text[TEXT_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return draw_text(y, x, paint, text);
}

void draw_fill(int y, int x, enum paint paint)
{
    if (y >= 0 && y < LINES && x < COLS)
        mvhline(y, x, ' ' | paints[paint], COLS - x);
}

void draw_bar(int y, int x, int width, double share, enum paint paint)
{
    static const char *const blocks[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
    char text[TEXT_SIZE] = "";
    if (!(share > 0) || width < 1)
        return;
    if (width > (TEXT_SIZE - 4) / 3)
        width = (TEXT_SIZE - 4) / 3;
    int steps = (int)lround((share < 1 ? share : 1) * width * STEPS);
    if (steps == 0)
        steps = 1;
    char *at = text;
    for (; steps >= STEPS; steps -= STEPS)
        at = stpcpy(at, drawn_utf8 ? blocks[STEPS] : "#");
    if (steps > 0)
        stpcpy(at, drawn_utf8 ? blocks[steps] : at == text ? ":" : "");
    draw_text(y, x, paint, text);
}

bool draw_range(const uint64_t *counts, size_t length, size_t *first, size_t *last, uint64_t *most)
{
    *most = 0;
    for (size_t i = 0; i < length; i++) {
        if (counts[i] == 0)
            continue;
        *first = *most != 0 ? *first : i;
        *last = i;
        *most = counts[i] > *most ? counts[i] : *most;
    }
    return *most != 0;
}

void draw_curve(int y, int x, int width, const float *values, size_t count)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char ascii[] = "_.,-~=+#";
    char text[TEXT_SIZE] = "";
    if (width > (TEXT_SIZE - 4) / 3)
        width = (TEXT_SIZE - 4) / 3;
    size_t first = width > 0 && count > (size_t)width ? count - (size_t)width : 0;
    float most = 0;
    for (size_t i = first; i < count; i++)
        most = values[i] > most ? values[i] : most;
    char *at = text;
    for (size_t i = first; i < count && width > 0; i++) {
        int step = values[i] > 0 ? (int)ceilf(values[i] / most * STEPS) - 1 : 0;
        if (isnan(values[i]))
            *at++ = ' ';
        else if (drawn_utf8)
            at = stpcpy(at, blocks[step]);
        else
            *at++ = ascii[step];
        *at = '\0';
    }
    draw_text(y, x, PAINT_BAR, text);
}
