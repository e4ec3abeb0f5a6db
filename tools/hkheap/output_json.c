#include "output.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "safe_text.h"

static json_t *checked(json_t *value)
{
    if (value == NULL)
        out_of_memory();
    return value;
}

static void put(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, checked(value)) != 0)
        checked(NULL);
}

static void append(json_t *array, json_t *value)
{
    if (json_array_append_new(array, checked(value)) != 0)
        checked(NULL);
}

static json_t *frame_object(const struct frame *frame)
{
    char address[24];
    json_t *object = checked(json_object());
    snprintf(address, sizeof address, "0x%" PRIx64, frame->address);
    put(object, "address", json_string(address));
    put(object, "function", frame->function != NULL ? json_string(frame->function) : json_null());
    put(object, "offset", json_integer((json_int_t)frame->offset));
    put(object, "file", json_string(frame->file));
    return object;
}

static json_t *holding_object(const struct holding *holding)
{
    json_t *object = checked(json_object());
    put(object, "size", json_integer((json_int_t)holding->block_size));
    put(object, "live_bytes", json_real(holding->bytes));
    put(object, "block_bytes", json_real(holding->block_bytes));
    return object;
}

static json_t *site_object(const struct site *site)
{
    json_t *object = checked(json_object()), *frames = checked(json_array()), *lifetimes = checked(json_array()),
           *classes = checked(json_array());
    for (unsigned i = 0; i < site->holding_count; i++)
        if (site->holdings[i].bytes >= 0.5)
            append(classes, holding_object(&site->holdings[i]));
    for (unsigned i = 0; i < site->depth; i++)
        append(frames, frame_object(&site->frames[i]));
    for (unsigned b = 0; b < PROFILE_LIFETIMES; b++)
        append(lifetimes, json_real(site->lifetimes[b]));
    put(object, "live_bytes", json_real(site->live.bytes));
    put(object, "live_blocks", json_real(site->live.blocks));
    put(object, "allocated_bytes", json_real(site->allocated.bytes));
    put(object, "allocated_blocks", json_real(site->allocated.blocks));
    put(object, "growth_bytes", json_real(profile_bytes(site, BY_GROWTH)));
    put(object, "lifetimes", lifetimes);
    put(object, "classes", classes);
    put(object, "frames", frames);
    return object;
}

void output_json(FILE *out, const struct profile *profile)
{
    json_t *object = checked(json_object()), *sites = checked(json_array());
    put(object, "version", json_integer(PROFILE_JSON_VERSION));
    put(object, "pid", json_integer((json_int_t)profile->pid));
    put(object, "command", json_string(profile->command));
    put(object, "time", json_real(profile->time));
    put(object, "seconds", json_real(profile->seconds));
    put(object, "partial", profile->partial ? json_string(profile->why_partial) : json_null());
    put(object, "lost_allocs", json_integer((json_int_t)profile->lost_allocs));
    put(object, "lost_frees", json_integer((json_int_t)profile->lost_frees));
    put(object, "thinned", json_integer((json_int_t)profile->thinned));
    put(object, "unwound_short", json_integer((json_int_t)profile->unwound_short));
    put(object, "armed_caches", profile->knows_armed ? json_integer((json_int_t)profile->armed) : json_null());
    put(object, "caches", profile->knows_armed ? json_integer((json_int_t)profile->caches) : json_null());
    put(object, "slack_bytes", json_real(profile_slack(profile)));
    for (size_t i = 0; i < profile->site_count; i++)
        append(sites, site_object(profile->sites[i]));
    put(object, "sites", sites);
    if (json_dumpf(object, out, JSON_COMPACT | JSON_REAL_PRECISION(12)) == 0)
        fputc('\n', out);
    json_decref(object);
}

/* ---- and back ---- */

#define TEXT_MOST 900u

static const char *safe(const char *text)
{
    char out[SAFE_TEXT_SIZE(TEXT_MOST)];
    safe_text(out, text, TEXT_MOST);
    return intern(out);
}

#define MOST_SECONDS 9e9 /* since the epoch: in ns an int64_t */
#define MOST 1e18        /* bytes, blocks */

/* Of a number, within the range; 0 of what is none. */
static double bounded(const json_t *value, double least, double most)
{
    double number = json_number_value(value);
    return number < least ? least : number > most ? most : number;
}

static double number(const json_t *object, const char *key)
{
    return bounded(json_object_get(object, key), -MOST, MOST);
}

static uint64_t whole(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

static bool read_site(struct profile *profile, const json_t *object)
{
    static struct frame frames[PROFILE_DEPTH];
    const json_t *stack = json_object_get(object, "frames"), *lifetimes = json_object_get(object, "lifetimes");
    size_t depth = json_array_size(stack);
    if (depth == 0 || depth > PROFILE_DEPTH)
        return false;
    for (size_t i = 0; i < depth; i++) {
        const json_t *frame = json_array_get(stack, i);
        const char *function = json_string_value(json_object_get(frame, "function"));
        const char *file = json_string_value(json_object_get(frame, "file"));
        const char *address = json_string_value(json_object_get(frame, "address"));
        frames[i] = (struct frame){.address = address != NULL ? strtoull(address, NULL, 0) : 0,
                                   .offset = whole(frame, "offset"),
                                   .function = function != NULL ? safe(function) : NULL,
                                   .file = safe(file != NULL ? file : "")};
    }
    struct site *site = profile_site(profile, frames, (unsigned)depth);
    site->live.bytes += number(object, "live_bytes");
    site->live.blocks += number(object, "live_blocks");
    site->allocated.bytes += number(object, "allocated_bytes");
    site->allocated.blocks += number(object, "allocated_blocks");
    for (unsigned b = 0; b < PROFILE_LIFETIMES; b++)
        site->lifetimes[b] += bounded(json_array_get(lifetimes, b), 0, MOST);
    const json_t *classes = json_object_get(object, "classes");
    for (size_t i = 0; i < json_array_size(classes); i++) {
        const json_t *class = json_array_get(classes, i);
        struct holding *holding = profile_holding(site, whole(class, "size"));
        holding->bytes += number(class, "live_bytes");
        holding->block_bytes += number(class, "block_bytes");
    }
    site->before.bytes = site->live.bytes - number(object, "growth_bytes");
    return true;
}

static struct profile *read_profile(const json_t *object)
{
    const char *command = json_string_value(json_object_get(object, "command"));
    const json_t *partial = json_object_get(object, "partial"), *sites = json_object_get(object, "sites");
    struct profile *profile = profile_new();
    profile->pid = whole(object, "pid");
    snprintf(profile->command, sizeof profile->command, "%s", safe(command != NULL ? command : ""));
    profile->time = bounded(json_object_get(object, "time"), 0, MOST_SECONDS);
    profile->seconds = bounded(json_object_get(object, "seconds"), 0, MOST_SECONDS);
    profile->partial = json_is_string(partial);
    profile->why_partial = profile->partial ? safe(json_string_value(partial)) : NULL;
    profile->lost_allocs = whole(object, "lost_allocs");
    profile->lost_frees = whole(object, "lost_frees");
    profile->thinned = whole(object, "thinned");
    profile->unwound_short = whole(object, "unwound_short");
    profile->knows_armed = json_is_integer(json_object_get(object, "armed_caches"));
    profile->armed = whole(object, "armed_caches");
    profile->caches = whole(object, "caches");
    for (size_t i = 0; i < json_array_size(sites); i++) {
        if (!read_site(profile, json_array_get(sites, i))) {
            profile_free(profile);
            return NULL;
        }
    }
    return profile;
}

struct profile *profile_read(const char *path, char *error)
{
    json_error_t why;
    json_t *object = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    struct profile *profile = NULL;
    if (object == NULL)
        snprintf(error, PROFILE_ERROR_SIZE, "%.100s: %.140s", path, why.text);
    else if (!json_is_array(json_object_get(object, "sites")))
        snprintf(error, PROFILE_ERROR_SIZE, "%.100s is no profile of hkheap's", path);
    else if (json_integer_value(json_object_get(object, "version")) != PROFILE_JSON_VERSION)
        snprintf(error, PROFILE_ERROR_SIZE, "%.100s is a profile of another version than %d", path,
                 PROFILE_JSON_VERSION);
    else if ((profile = read_profile(object)) == NULL)
        snprintf(error, PROFILE_ERROR_SIZE, "%.100s: a stack in it is empty or too deep", path);
    json_decref(object);
    return profile;
}

void profile_compare(struct profile *after, const struct profile *before)
{
    for (size_t i = 0; i < after->site_count; i++)
        after->sites[i]->before = (struct amount){0, 0};
    for (size_t i = 0; i < before->site_count; i++) {
        const struct site *old = before->sites[i];
        profile_site(after, old->frames, old->depth)->before = old->live;
    }
}
