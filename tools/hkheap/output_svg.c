/* output_svg.c - a flame graph: a box for each function in each call path, as wide as its bytes, callers below. */
#include "output.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define WIDTH 1200.0
#define MARGIN 10.0
#define ROW 17.0
#define TOP 70.0
#define LEAST 0.3 /* px: narrower boxes are left out */

/* A function in a call path; its callees are its children. */
struct box {
    const char *name;
    double bytes;
    struct box **children;
    size_t count;
};

static struct box *new_box(const char *name)
{
    struct box *box = grow(NULL, 1, sizeof *box);
    *box = (struct box){.name = name};
    return box;
}

static struct box *child_of(struct box *box, const char *name)
{
    for (size_t i = 0; i < box->count; i++)
        if (box->children[i]->name == name) /* names are interned */
            return box->children[i];
    box->children = grow(box->children, box->count + 1, sizeof(struct box *));
    return box->children[box->count++] = new_box(name);
}

static void free_box(struct box *box)
{
    for (size_t i = 0; i < box->count; i++)
        free_box(box->children[i]);
    free(box->children);
    free(box);
}

static int compare_boxes(const void *a, const void *b)
{
    return strcmp((*(struct box *const *)a)->name, (*(struct box *const *)b)->name);
}

static unsigned height_of(const struct box *box, double pixels_a_byte)
{
    unsigned most = 0;
    for (size_t i = 0; i < box->count; i++) {
        unsigned height = box->children[i]->bytes * pixels_a_byte >= LEAST ? height_of(box->children[i], pixels_a_byte)
                                                                           : 0;
        most = height > most ? height : most;
    }
    return most + 1;
}

/* Also what would end a comment or an attribute. */
static void put_escaped(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        const char *entity = *text == '&'   ? "&amp;"
                             : *text == '<' ? "&lt;"
                             : *text == '>' ? "&gt;"
                             : *text == '"' ? "&quot;"
                                            : NULL;
        if (entity != NULL)
            fputs(entity, out);
        else
            fputc(*text, out);
    }
}

/* The same function has the same colour in every picture: warm ones. */
static void put_colour(FILE *out, const char *name)
{
    unsigned hash = 5381;
    for (const char *c = name; *c != '\0'; c++)
        hash = hash * 33 + (unsigned char)*c;
    fprintf(out, "rgb(%u,%u,%u)", 205 + hash % 50, 80 + hash / 64 % 130, hash / 8192 % 60);
}

static void put_box(FILE *out, struct box *box, double x, double pixels_a_byte, unsigned level, unsigned height,
                    double total)
{
    double width = box->bytes * pixels_a_byte;
    if (width < LEAST)
        return;
    double y = TOP + (height - 1 - level) * ROW;
    fprintf(out, "<g class=\"f\" data-x=\"%.3f\" data-w=\"%.3f\" data-l=\"%u\"><title>",
            (x - MARGIN) / (WIDTH - 2 * MARGIN), width / (WIDTH - 2 * MARGIN), level);
    put_escaped(out, box->name);
    fprintf(out, " (%.0f bytes, %.2f %%)</title><rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\" fill=\"",
            box->bytes, box->bytes / total * 100, x, y, width, ROW - 1);
    put_colour(out, box->name);
    fprintf(out, "\"/><text x=\"%.2f\" y=\"%.1f\" data-n=\"", x + 3, y + 12);
    put_escaped(out, box->name);
    fprintf(out, "\"></text></g>\n");
    if (box->count != 0)
        qsort(box->children, box->count, sizeof(struct box *), compare_boxes);
    for (size_t i = 0; i < box->count; i++) {
        put_box(out, box->children[i], x, pixels_a_byte, level + 1, height, total);
        x += box->children[i]->bytes * pixels_a_byte;
    }
}

static const char script[] =
    "var W=1180,M=10,fs=[].slice.call(document.querySelectorAll('g.f')),z={x:0,w:1,l:-1},q='';\n"
    "function fit(g,w){var t=g.querySelector('text'),n=t.getAttribute('data-n'),c=Math.floor((w-6)/7);\n"
    " t.textContent=c<3?'':n.length<=c?n:n.slice(0,c-2)+'..';}\n"
    "function draw(){fs.forEach(function(g){var "
    "x=+g.dataset.x,w=+g.dataset.w,l=+g.dataset.l,r=g.querySelector('rect');\n"
    " var a=l<z.l,in_=a?(x<=z.x+1e-6&&x+w>=z.x+z.w-1e-6):(x>=z.x-1e-6&&x+w<=z.x+z.w+1e-6);\n"
    " g.style.display=in_?'':'none';g.style.opacity=a?0.5:1;if(!in_)return;\n"
    " var px=a?M:M+(x-z.x)/z.w*W,pw=a?W:w/z.w*W;r.setAttribute('x',px);r.setAttribute('width',pw);\n"
    " g.querySelector('text').setAttribute('x',px+3);fit(g,pw);\n"
    " var hit=q!==''&&g.querySelector('text').getAttribute('data-n').indexOf(q)>=0;\n"
    " r.style.fill=hit?'rgb(120,60,230)':'';});\n"
    " var s=0,end=-1;fs.filter(function(g){return "
    "q!==''&&g.querySelector('text').getAttribute('data-n').indexOf(q)>=0;})\n"
    "  .sort(function(a,b){return a.dataset.x-b.dataset.x||a.dataset.l-b.dataset.l;})\n"
    "  .forEach(function(g){if(+g.dataset.x>=end-1e-9){s+=+g.dataset.w;end=+g.dataset.x+ +g.dataset.w;}});\n"
    " document.getElementById('m').textContent=q===''?'':'found: '+(s*100).toFixed(2)+' %';}\n"
    "function zoom(g){z=g?{x:+g.dataset.x,w:+g.dataset.w,l:+g.dataset.l}:{x:0,w:1,l:-1};draw();}\n"
    "function search(t){q=t||'';draw();}\n"
    "fs.forEach(function(g){g.addEventListener('click',function(){zoom(g);});});\n"
    "document.getElementById('r').addEventListener('click',function(){zoom(null);});\n"
    "document.getElementById('s').addEventListener('click',function(){search(prompt('Search for',q));});\n"
    "document.addEventListener('keydown',function(e){if(e.ctrlKey&&e.key==='f'){e.preventDefault();search(prompt('"
    "Search for',q));}\n"
    " if(e.key==='Escape'){q='';zoom(null);}});\n"
    "location.hash.slice(1).split('&').forEach(function(p){var "
    "n=decodeURIComponent(p.slice(2));if(p.slice(0,2)==='s=')search(n);\n"
    " if(p.slice(0,2)==='z=')zoom(fs.filter(function(g){return "
    "g.querySelector('text').getAttribute('data-n')===n;})[0]);});\n"
    "draw();\n";

void output_svg(FILE *out, const struct profile *profile, enum profile_order order)
{
    char name[FRAME_NAME_SIZE];
    struct box *all = new_box(intern("all"));
    for (size_t s = 0; s < profile->site_count; s++) {
        const struct site *site = profile->sites[s];
        double bytes = profile_bytes(site, order);
        if (bytes < 0.5)
            continue;
        struct box *box = all;
        box->bytes += bytes;
        for (unsigned i = site->depth; i-- > 0;) {
            frame_name(&site->frames[i], false, name);
            box = child_of(box, intern(name));
            box->bytes += bytes;
        }
    }
    double total = all->bytes > 0 ? all->bytes : 1, pixels_a_byte = (WIDTH - 2 * MARGIN) / total;
    unsigned height = height_of(all, pixels_a_byte);
    if (all->bytes <= 0)
        all->bytes = total;
    fprintf(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f "
        "%.0f\" width=\"%.0f\" "
        "font-family=\"monospace\" font-size=\"12\">\n<style>g.f:hover rect{stroke:black}g.f text{pointer-events:none}"
        ".b{cursor:pointer;fill:rgb(40,80,160)}</style>\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
        "<text x=\"10\" y=\"24\" font-size=\"16\">",
        WIDTH, TOP + height * ROW + MARGIN, WIDTH);
    snprintf(name, sizeof name, "process %llu (%s): bytes %s, %.1f s%s", (unsigned long long)profile->pid,
             profile->command, order_names[order], profile->seconds, profile->partial ? ", PARTIAL" : "");
    put_escaped(out, name);
    fprintf(out, "</text>\n<text id=\"r\" class=\"b\" x=\"10\" y=\"48\">Show all</text><text id=\"s\" class=\"b\" "
                 "x=\"100\" y=\"48\">Search"
                 "</text><text id=\"m\" x=\"200\" y=\"48\"></text>\n");
    put_box(out, all, MARGIN, pixels_a_byte, 0, height, total);
    fprintf(out, "<script><![CDATA[\n%s]]></script>\n</svg>\n", script);
    free_box(all);
}
