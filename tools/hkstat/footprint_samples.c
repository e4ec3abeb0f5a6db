#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "footprint.h"
#include "memory.h"
#include "safe_text.h"

#define HEAP_JSON_VERSION 1 /* of hkheap's records */
#define TEXT_MOST 400u

/* "function+0x10 /path/of/file" */
static char *frame_text(const json_t *frame)
{
    char text[TEXT_MOST], safe[SAFE_TEXT_SIZE(TEXT_MOST)];
    const char *function = json_string_value(json_object_get(frame, "function"));
    const char *address = json_string_value(json_object_get(frame, "address"));
    const char *file = json_string_value(json_object_get(frame, "file"));
    if (function != NULL)
        snprintf(text, sizeof text, "%s+0x%llx %s", function,
                 (unsigned long long)json_integer_value(json_object_get(frame, "offset")), file != NULL ? file : "");
    else
        snprintf(text, sizeof text, "%s %s", address != NULL ? address : "?", file != NULL ? file : "");
    safe_text(safe, text, sizeof text);
    char *kept = strdup(safe);
    if (kept == NULL)
        out_of_memory();
    return kept;
}

static void add_holder(struct footprint *footprint, const json_t *site, uint64_t block_size, double bytes)
{
    const json_t *frames = json_object_get(site, "frames");
    footprint->holders = grow_by_one(footprint->holders, footprint->holder_count, sizeof *footprint->holders);
    struct footprint_holder *holder = &footprint->holders[footprint->holder_count++];
    *holder = (struct footprint_holder){.block_size = block_size, .block_bytes = bytes};
    for (size_t i = 0; i < json_array_size(frames) && holder->depth < FOOTPRINT_FRAMES; i++)
        holder->frames[holder->depth++] = frame_text(json_array_get(frames, i));
}

static void free_holder(struct footprint_holder *holder)
{
    for (unsigned i = 0; i < holder->depth; i++)
        free(holder->frames[i]);
}

/* By class, in each those with most first. */
static int compare_holders(const void *a, const void *b)
{
    const struct footprint_holder *x = a, *y = b;
    if (x->block_size != y->block_size)
        return x->block_size < y->block_size ? -1 : 1;
    return (x->block_bytes < y->block_bytes) - (x->block_bytes > y->block_bytes);
}

/* Of each class the first few alone. */
static void keep_greatest(struct footprint *footprint)
{
    size_t kept = 0;
    unsigned of_class = 0;
    if (footprint->holder_count != 0)
        qsort(footprint->holders, footprint->holder_count, sizeof *footprint->holders, compare_holders);
    for (size_t i = 0; i < footprint->holder_count; i++) {
        struct footprint_holder holder = footprint->holders[i];
        of_class = kept != 0 && footprint->holders[kept - 1].block_size == holder.block_size ? of_class + 1 : 0;
        if (of_class < FOOTPRINT_HOLDERS)
            footprint->holders[kept++] = holder;
        else
            free_holder(&holder);
    }
    footprint->holder_count = kept;
}

static void take_sites(struct footprint *footprint, const json_t *sites)
{
    double block_bytes = 0, bytes = 0;
    for (size_t i = 0; i < json_array_size(sites); i++) {
        const json_t *site = json_array_get(sites, i), *classes = json_object_get(site, "classes");
        for (size_t k = 0; k < json_array_size(classes); k++) {
            const json_t *class = json_array_get(classes, k);
            json_int_t size = json_integer_value(json_object_get(class, "size"));
            double of_class = json_number_value(json_object_get(class, "block_bytes"));
            block_bytes += of_class;
            bytes += json_number_value(json_object_get(class, "live_bytes"));
            if (size > 0 && of_class > 0)
                add_holder(footprint, site, (uint64_t)size, of_class);
        }
    }
    footprint->slack_share = block_bytes > 0 && bytes < block_bytes ? (block_bytes - bytes) / block_bytes : 0;
    keep_greatest(footprint);
}

bool footprint_read_samples(const char *path, uint64_t pid, struct footprint *footprint, char *error)
{
    json_error_t why;
    json_t *object = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    const json_t *sites = json_object_get(object, "sites");
    bool good = false;
    if (object == NULL)
        snprintf(error, FOOTPRINT_ERROR_SIZE, "%.200s: %.200s", path, why.text);
    else if (!json_is_array(sites) || json_integer_value(json_object_get(object, "version")) != HEAP_JSON_VERSION)
        snprintf(error, FOOTPRINT_ERROR_SIZE, "%.200s is no record of hkheap's, or of another version", path);
    else if ((uint64_t)json_integer_value(json_object_get(object, "pid")) != pid)
        snprintf(error, FOOTPRINT_ERROR_SIZE, "%.200s is of process %lld, not of %" PRIu64, path,
                 (long long)json_integer_value(json_object_get(object, "pid")), pid);
    else
        good = true;
    if (good) {
        footprint->has_samples = true;
        take_sites(footprint, sites);
    }
    json_decref(object);
    return good;
}

void footprint_free_samples(struct footprint *footprint)
{
    for (size_t i = 0; i < footprint->holder_count; i++)
        free_holder(&footprint->holders[i]);
    free(footprint->holders);
}
