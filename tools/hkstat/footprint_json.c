#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "footprint_out.h"
#include "safe_text.h"

static json_t *number(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static json_t *rows_of(const struct footprint *footprint)
{
    json_t *rows = json_object();
    for (unsigned row = 0; row < FOOTPRINT_ROWS; row++)
        json_object_set_new(rows, footprint_rows[row].name, number(footprint->bytes[row]));
    return rows;
}

static json_t *classes_of(const struct footprint *footprint)
{
    json_t *classes = json_array();
    for (unsigned c = 0; c < HK_CACHED_CLASSES; c++) {
        const struct footprint_class *class = &footprint->classes[c];
        if (class->slabs == 0)
            continue;
        json_array_append_new(classes,
                              json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "size", number(class->block_size),
                                        "live_blocks", number(class->live), "cached_blocks", number(class->cached),
                                        "chained_blocks", number(class->chained), "quarantined_blocks",
                                        number(class->quarantined), "free_blocks", number(class->free), "slabs",
                                        number(class->slabs), "sparse_slabs", number(class->sparse_slabs),
                                        "resident_bytes", number(class->resident)));
    }
    return classes;
}

static json_t *large_classes_of(const struct footprint *footprint)
{
    json_t *classes = json_array();
    for (unsigned c = 0; c < FOOTPRINT_LARGE_CLASSES; c++) {
        const struct footprint_large *class = &footprint->large[c];
        if (class->live != 0 || class->cached != 0)
            json_array_append_new(classes,
                                  json_pack("{s:o,s:o,s:o,s:o,s:o}", "size", number(class->block_size), "live_blocks",
                                            number(class->live), "cached_blocks", number(class->cached),
                                            "live_resident_bytes", number(class->live_resident),
                                            "cached_resident_bytes", number(class->cached_resident)));
    }
    return classes;
}

static json_t *threads_of(const struct footprint *footprint)
{
    json_t *threads = json_array();
    for (size_t i = 0; i < footprint->thread_count; i++)
        json_array_append_new(threads, json_pack("{s:o,s:o,s:o}", "tid", number(footprint->threads[i].tid), "blocks",
                                                 number(footprint->threads[i].blocks), "bytes",
                                                 number(footprint->threads[i].bytes)));
    return threads;
}

static json_t *failures_of(const struct footprint_view *view)
{
    json_t *failures = json_array();
    for (size_t i = 0; i < view->footprint->failure_count; i++) {
        const struct footprint_failure *failure = &view->footprint->failures[i];
        json_t *stack = json_array();
        for (unsigned k = 0; k < failure->depth; k++) {
            char frame[512], safe[SAFE_TEXT_SIZE(sizeof frame)];
            footprint_frame(view->space, failure->frames[k], frame, sizeof frame);
            safe_text(safe, frame, sizeof frame);
            json_array_append_new(stack, json_string(safe));
        }
        json_array_append_new(failures,
                              json_pack("{s:s,s:o,s:o,s:i,s:s,s:i,s:o}", "kind", footprint_failure_kinds[failure->kind],
                                        "time_ns", number(failure->time_ns), "size", number(failure->size), "errno",
                                        (int)failure->error, "limit", footprint_limit(failure->limit), "tid",
                                        (int)failure->tid, "stack", stack));
    }
    return failures;
}

static json_t *samples_of(const struct footprint *footprint)
{
    json_t *holders = json_array();
    for (size_t i = 0; i < footprint->holder_count; i++) {
        const struct footprint_holder *holder = &footprint->holders[i];
        json_t *stack = json_array();
        for (unsigned k = 0; k < holder->depth; k++)
            json_array_append_new(stack, json_string(holder->frames[k]));
        json_array_append_new(holders, json_pack("{s:o,s:f,s:o}", "size", number(holder->block_size), "block_bytes",
                                                 holder->block_bytes, "stack", stack));
    }
    return json_pack("{s:f,s:o,s:o}", "slack_share", footprint->slack_share, "slack_bytes",
                     number((uint64_t)(footprint->slack_share * (double)footprint->live_bytes)), "holders", holders);
}

static json_t *failure_counts_of(const struct footprint *footprint)
{
    json_t *counts = json_object();
    for (unsigned kind = 0; kind < FOOTPRINT_FAILURE_KINDS; kind++)
        json_object_set_new(counts, footprint_failure_kinds[kind], number(footprint->failure_counts[kind]));
    return counts;
}

void footprint_json(FILE *out, const struct footprint_view *view)
{
    const struct footprint *footprint = view->footprint;
    char name[SAFE_TEXT_SIZE(sizeof view->space->name)], cause[1024];
    safe_text(name, view->space->name, sizeof view->space->name);
    footprint_cause(footprint, cause, sizeof cause);
    json_t *object = json_pack(
        "{s:i,s:i,s:s,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:s}", "version", FOOTPRINT_JSON_VERSION,
        "pid", (int)view->space->pid, "comm", name, "partial", view->space->is_cut || footprint->unreadable != 0,
        "unreadable_tables", number(footprint->unreadable), "rss_bytes", number(view->space->rss), "huge_page_bytes",
        number(view->space->huge_bytes), "mapped_bytes", number(footprint->mapped_bytes), "live_bytes",
        number(footprint->live_bytes), "trim_bytes", number(footprint->trim_bytes), "superslabs",
        number(footprint->superslab_count), "generation", number(footprint->generation), "resident", rows_of(footprint),
        "classes", classes_of(footprint), "threads", threads_of(footprint), "failure_counts",
        failure_counts_of(footprint), "failures", failures_of(view), "cause", cause);
    json_object_set_new(object, "large_classes", large_classes_of(footprint));
    json_object_set_new(object, "samples", footprint->has_samples ? samples_of(footprint) : json_null());
    if (view->core != NULL) {
        char *path = malloc(SAFE_TEXT_SIZE(strlen(view->core)));
        if (path != NULL) {
            safe_text(path, view->core, strlen(view->core));
            json_object_set_new(object, "core", json_string(path));
        }
        free(path);
    }
    json_dumpf(object, out, JSON_INDENT(2));
    fputc('\n', out);
    json_decref(object);
}
