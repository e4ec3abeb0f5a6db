#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "footprint_out.h"
#include "safe_text.h"
#include "size_text.h"

#define SHOWN 10u       /* classes, threads */
#define CLASSES_HELD 3u /* classes whose holders are shown */
#define FRAMES_SHOWN 8u
#define BYTES(n) size_text(n).text

static double share(uint64_t bytes, uint64_t all)
{
    return all == 0 ? 0 : 100.0 * (double)bytes / (double)all;
}

static void print_rows(FILE *out, const struct footprint *footprint, uint64_t rss)
{
    uint64_t sum = 0;
    fprintf(out, "%16s %10s %6s  %s\n", "bytes", "", "share", "used for");
    for (unsigned row = 0; row < FOOTPRINT_ROWS; row++) {
        uint64_t bytes = footprint->bytes[row];
        sum += bytes;
        if (bytes != 0)
            fprintf(out, "%16" PRIu64 " %10s %5.1f%%  %s\n", bytes, BYTES(bytes), share(bytes, rss),
                    footprint_rows[row].title);
    }
    fprintf(out, "%16" PRIu64 " %10s %6s  in all\n", sum, BYTES(sum), "");
}

static uint64_t excess_of(const struct footprint_class *class)
{
    uint64_t live = class->live * class->block_size;
    return class->resident > live ? class->resident - live : 0;
}

static int by_excess(const void *a, const void *b)
{
    uint64_t left = excess_of(*(const struct footprint_class *const *)a);
    uint64_t right = excess_of(*(const struct footprint_class *const *)b);
    return left > right ? -1 : left < right;
}

/* Of the classes that are shown first: who holds the blocks that keep their slabs. */
static void print_holders(FILE *out, const struct footprint *footprint, uint64_t block_size)
{
    for (size_t i = 0; i < footprint->holder_count; i++) {
        const struct footprint_holder *holder = &footprint->holders[i];
        if (holder->block_size != block_size)
            continue;
        fprintf(out, "\nBlocks of %" PRIu64 " bytes, about %s, are held by\n", block_size,
                BYTES((uint64_t)holder->block_bytes));
        for (unsigned k = 0; k < holder->depth && k < FRAMES_SHOWN; k++)
            fprintf(out, "    %s\n", holder->frames[k]);
    }
}

static void print_classes(FILE *out, const struct footprint *footprint)
{
    const struct footprint_class *classes[HK_CACHED_CLASSES];
    for (unsigned c = 0; c < HK_CACHED_CLASSES; c++)
        classes[c] = &footprint->classes[c];
    qsort(classes, HK_CACHED_CLASSES, sizeof classes[0], by_excess);
    fprintf(out,
            "\nClasses by what their slabs hold beside live blocks (sparse: slabs with a quarter in use at most):\n");
    fprintf(out, "%8s %10s %10s %10s %10s %10s %8s %8s\n", "size", "live", "resident", "beside", "cached", "chained",
            "slabs", "sparse");
    for (unsigned i = 0; i < SHOWN && excess_of(classes[i]) != 0; i++) {
        const struct footprint_class *class = classes[i];
        fprintf(out, "%8" PRIu64 " %10s %10s %10s %10s %10s %8" PRIu64 " %8" PRIu64 "\n", class->block_size,
                BYTES(class->live * class->block_size), BYTES(class->resident), BYTES(excess_of(class)),
                BYTES(class->cached * class->block_size), BYTES(class->chained * class->block_size), class->slabs,
                class->sparse_slabs);
    }
    for (unsigned i = 0; i < CLASSES_HELD && excess_of(classes[i]) != 0; i++)
        print_holders(out, footprint, classes[i]->block_size);
}

static void print_large(FILE *out, const struct footprint *footprint)
{
    bool any = false;
    for (unsigned c = 0; c < FOOTPRINT_LARGE_CLASSES; c++) {
        const struct footprint_large *class = &footprint->large[c];
        if (class->cached == 0)
            continue;
        if (!any)
            fprintf(out, "\nBlocks that ACE keeps, by class:\n%10s %10s %10s %10s %10s\n", "size", "live", "resident",
                    "kept", "resident");
        any = true;
        fprintf(out, "%10s %10" PRIu64 " %10s %10" PRIu64 " %10s\n",
                class->block_size != 0 ? BYTES(class->block_size) : "huge", class->live, BYTES(class->live_resident),
                class->cached, BYTES(class->cached_resident));
    }
}

static int by_bytes(const void *a, const void *b)
{
    const struct footprint_thread *left = a, *right = b;
    return left->bytes > right->bytes ? -1 : left->bytes < right->bytes;
}

static void print_threads(FILE *out, const struct footprint *footprint)
{
    struct footprint_thread *threads = calloc(footprint->thread_count, sizeof *threads);
    if (threads == NULL)
        return;
    memcpy(threads, footprint->threads, footprint->thread_count * sizeof *threads);
    qsort(threads, footprint->thread_count, sizeof *threads, by_bytes);
    fprintf(out, "\nThread caches (%zu threads have one):\n%8s %10s %10s\n", footprint->thread_count, "thread",
            "blocks", "bytes");
    for (size_t i = 0; i < footprint->thread_count && i < SHOWN && threads[i].blocks != 0; i++)
        fprintf(out, "%8" PRIu32 " %10" PRIu64 " %10s\n", threads[i].tid, threads[i].blocks, BYTES(threads[i].bytes));
    free(threads);
}

/* The last of each kind with its stack, the others by a line. */
static void print_failures(FILE *out, const struct footprint_view *view)
{
    const struct footprint *footprint = view->footprint;
    unsigned last_kind = FOOTPRINT_FAILURE_KINDS;
    fprintf(out, "\nFailures:");
    for (unsigned kind = 0; kind < FOOTPRINT_FAILURE_KINDS; kind++)
        fprintf(out, "%s %" PRIu64 " %s", kind == 0 ? "" : ",", footprint->failure_counts[kind],
                footprint_failure_kinds[kind]);
    fprintf(out, ". The last:\n");
    for (size_t i = 0; i < footprint->failure_count; i++) {
        const struct footprint_failure *failure = &footprint->failures[i];
        fprintf(out, "%s at %.3f s of the clock: %" PRIu64 " bytes, errno %" PRIu32 ", limit %s\n",
                footprint_failure_kinds[failure->kind], (double)failure->time_ns / 1e9, failure->size, failure->error,
                footprint_limit(failure->limit));
        for (unsigned k = 0; k < failure->depth && failure->kind != last_kind; k++) {
            char frame[512], safe[SAFE_TEXT_SIZE(sizeof frame)];
            footprint_frame(view->space, failure->frames[k], frame, sizeof frame);
            safe_text(safe, frame, sizeof frame);
            fprintf(out, "    %s\n", safe);
        }
        last_kind = failure->kind;
    }
}

void footprint_text(FILE *out, const struct footprint_view *view)
{
    const struct footprint *footprint = view->footprint;
    char name[SAFE_TEXT_SIZE(sizeof view->space->name)], cause[1024];
    safe_text(name, view->space->name, sizeof view->space->name);
    if (view->core != NULL)
        fprintf(out, "%s, a core of %s: %s in pages that are not zero%s\n\n", view->core, name, BYTES(view->space->rss),
                view->space->is_cut ? " (partial: the file was cut off)" : "");
    else
        fprintf(out, "Process %d (%s): %s resident, %s of it in huge pages\n\n", (int)view->space->pid, name,
                BYTES(view->space->rss), BYTES(view->space->huge_bytes));
    print_rows(out, footprint, view->space->rss);
    footprint_cause(footprint, cause, sizeof cause);
    fprintf(out, "\n%s\n", cause);
    fprintf(out, "malloc_trim(0) would give back %s. Live blocks are %s, in the sizes of their classes.\n",
            BYTES(footprint->trim_bytes), BYTES(footprint->live_bytes));
    if (footprint->has_samples)
        fprintf(out, "Of them %s, %.1f %%, is slack: estimated from samples.\n",
                BYTES((uint64_t)(footprint->slack_share * (double)footprint->live_bytes)),
                100 * footprint->slack_share);
    print_classes(out, footprint);
    print_large(out, footprint);
    if (footprint->thread_count != 0)
        print_threads(out, footprint);
    if (footprint->failure_count != 0)
        print_failures(out, view);
    if (footprint->unreadable != 0)
        fprintf(out, "\nPartial: %" PRIu64 " tables changed while they were read, or could not be.\n",
                footprint->unreadable);
}

/* ---- the map ---- */

static char unit_sign(const struct occupancy_unit *unit)
{
    static const char fills[] = "0123456789";
    switch ((enum unit_state)unit->state) {
    case UNIT_FREE:
        return '.';
    case UNIT_DIRTY:
        return '_';
    case UNIT_LARGE:
        return 'L';
    case UNIT_SLAB:
        return unit->fill >= 100 ? '#' : fills[unit->fill / 10];
    }
    return '?';
}

void footprint_map(FILE *out, const struct footprint_view *view)
{
    const struct footprint *footprint = view->footprint;
    fprintf(out, "\nSuperSlabs, each character a unit of 64 KiB: . free  _ free, kept  0-9 a slab, tenths in use or "
                 "cached  # full "
                 " L large\n");
    for (size_t i = 0; i < footprint->superslab_count; i++) {
        const struct footprint_superslab *superslab = &footprint->superslabs[i];
        char line[HK_UNITS_PER_SUPERSLAB + 1] = {0};
        for (unsigned unit = 0; unit < HK_UNITS_PER_SUPERSLAB; unit++)
            line[unit] = unit_sign(&superslab->occupancy.units[unit]);
        fprintf(out, "%#14" PRIx64 " %s %10s\n", superslab->occupancy.base, line, BYTES(superslab->resident));
    }
}
