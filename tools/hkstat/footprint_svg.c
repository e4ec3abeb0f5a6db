#include <inttypes.h>

#include "footprint_out.h"
#include "safe_text.h"
#include "size_text.h"

#define WIDTH 960u
#define BAR_TOP 60u
#define BAR_HEIGHT 36u
#define LINE 18u
#define CELL 12u    /* a unit's side */
#define PER_LINE 2u /* SuperSlabs side by side */
#define SHOWN 2000u /* SuperSlabs */
#define BYTES(n) size_text(n).text

static const char *const colours[] = {[FOOTPRINT_LIVE] = "#2b7bba",
                                      [FOOTPRINT_KEPT] = "#e08214",
                                      [FOOTPRINT_NEEDED] = "#7b3294",
                                      [FOOTPRINT_OTHER] = "#999999"};

static void put_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '>')
            fputs("&gt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else if (*text == '"')
            fputs("&quot;", out);
        else
            fputc(*text, out);
    }
}

/* Rows of one kind get paler one after the other. */
static double opacity_of(unsigned row)
{
    unsigned before = 0;
    for (unsigned i = 0; i < row; i++)
        before += footprint_rows[i].whose == footprint_rows[row].whose;
    return 1.0 / (1.0 + 0.25 * before);
}

static unsigned put_rows(FILE *out, const struct footprint *footprint, uint64_t rss)
{
    double x = 0;
    unsigned y = BAR_TOP + BAR_HEIGHT + LINE + 4;
    for (unsigned row = 0; row < FOOTPRINT_ROWS; row++) {
        uint64_t bytes = footprint->bytes[row];
        const struct footprint_row_text *text = &footprint_rows[row];
        if (bytes == 0)
            continue;
        double width = rss == 0 ? 0 : (double)bytes / (double)rss * (WIDTH - 20);
        fprintf(out, "<rect x=\"%.2f\" y=\"%u\" width=\"%.2f\" height=\"%u\" fill=\"%s\" fill-opacity=\"%.2f\"><title>",
                10 + x, BAR_TOP, width, BAR_HEIGHT, colours[text->whose], opacity_of(row));
        put_text(out, text->title);
        fprintf(out, ": %s. ", BYTES(bytes));
        put_text(out, text->meaning);
        fprintf(
            out,
            "</title></rect>\n<rect x=\"10\" y=\"%u\" width=\"12\" height=\"12\" fill=\"%s\" fill-opacity=\"%.2f\"/>"
            "<text x=\"28\" y=\"%u\">",
            y - 10, colours[text->whose], opacity_of(row), y);
        put_text(out, text->title);
        fprintf(out, "</text><text x=\"360\" y=\"%u\" text-anchor=\"end\">%s</text>\n", y, BYTES(bytes));
        x += width;
        y += LINE;
    }
    return y;
}

static void put_unit(FILE *out, const struct occupancy_unit *unit, unsigned x, unsigned y)
{
    static const char *const fills[] = {
        [UNIT_FREE] = "#f4f4f4", [UNIT_DIRTY] = "#e08214", [UNIT_SLAB] = "#2b7bba", [UNIT_LARGE] = "#1b9e77"};
    double opacity = unit->state == UNIT_SLAB ? 0.1 + 0.9 * unit->fill / 100.0 : 1;
    fprintf(out, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" fill=\"%s\" fill-opacity=\"%.2f\"/>", x, y,
            CELL - 1, CELL - 1, fills[unit->state], opacity);
}

static void put_superslabs(FILE *out, const struct footprint *footprint, unsigned top)
{
    for (size_t i = 0; i < footprint->superslab_count && i < SHOWN; i++) {
        const struct footprint_superslab *superslab = &footprint->superslabs[i];
        unsigned x = 10 + (unsigned)(i % PER_LINE) * (HK_UNITS_PER_SUPERSLAB * CELL + 40);
        unsigned y = top + (unsigned)(i / PER_LINE) * (CELL + 4);
        fprintf(out, "<g><title>%#" PRIx64 ": %s resident</title>", superslab->occupancy.base,
                BYTES(superslab->resident));
        for (unsigned unit = 0; unit < HK_UNITS_PER_SUPERSLAB; unit++)
            put_unit(out, &superslab->occupancy.units[unit], x + unit * CELL, y);
        fprintf(out, "</g>\n");
    }
}

void footprint_svg(FILE *out, const struct footprint_view *view)
{
    const struct footprint *footprint = view->footprint;
    char name[SAFE_TEXT_SIZE(sizeof view->space->name)];
    unsigned rows = 0;
    for (unsigned row = 0; row < FOOTPRINT_ROWS; row++)
        rows += footprint->bytes[row] != 0;
    size_t shown = footprint->superslab_count < SHOWN ? footprint->superslab_count : SHOWN;
    unsigned map_top = BAR_TOP + BAR_HEIGHT + LINE * (rows + 3);
    unsigned height = map_top + (unsigned)((shown + PER_LINE - 1) / PER_LINE) * (CELL + 4) + 20;
    safe_text(name, view->space->name, sizeof view->space->name);
    fprintf(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" "
        "height=\"%u\" "
        "viewBox=\"0 0 %u %u\" font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%%\" height=\"100%%\" "
        "fill=\"white\"/>\n<text x=\"10\" y=\"28\" font-size=\"18\">What the memory of ",
        WIDTH, height, WIDTH, height);
    put_text(out, name);
    if (view->core == NULL)
        fprintf(out, ", process %d,", (int)view->space->pid);
    fprintf(out, " is used for</text>\n<text x=\"10\" y=\"48\">%s %s</text>\n", BYTES(view->space->rss),
            view->core == NULL ? "resident" : "in a core file");
    put_rows(out, footprint, view->space->rss);
    fprintf(out,
            "<text x=\"10\" y=\"%u\">SuperSlabs, %zu of %zu: each cell 64 KiB. Blue: a slab, the darker the fuller; "
            "green: large; "
            "orange: free, kept; grey: free</text>\n",
            map_top - 10, shown, footprint->superslab_count);
    put_superslabs(out, footprint, map_top);
    fprintf(out, "</svg>\n");
}
