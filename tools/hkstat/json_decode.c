#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "fields.h"
#include "json.h"

#define LATEST_S 253402300799.0 /* the year 9999 */
#define MOST_PROCESSES 1000000u

/* What is wrong, once; what follows is noise. */
struct decoding {
    char *error;
    bool failed;
};

static void __attribute__((format(printf, 2, 3))) refuse(struct decoding *decoding, const char *format, ...)
{
    if (decoding->failed)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(decoding->error, JSON_ERROR_SIZE, format, args);
    va_end(args);
    decoding->failed = true;
}

static const json_t *member(struct decoding *decoding, const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    if (value == NULL)
        refuse(decoding, "'%s' is missing", name);
    return value;
}

static uint64_t count_of(struct decoding *decoding, const json_t *value, const char *name, uint64_t most)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0 || (uint64_t)json_integer_value(value) > most) {
        refuse(decoding, "'%s' isn't a whole number from 0 to %" PRIu64, name, most);
        return 0;
    }
    return (uint64_t)json_integer_value(value);
}

static uint64_t get_count(struct decoding *decoding, const json_t *object, const char *name, uint64_t most)
{
    return count_of(decoding, member(decoding, object, name), name, most);
}

static uint64_t get_ms(struct decoding *decoding, const json_t *object, const char *name)
{
    const json_t *value = member(decoding, object, name);
    double seconds = json_number_value(value);
    if (!json_is_number(value) || !(seconds >= 0 && seconds <= LATEST_S)) {
        refuse(decoding, "'%s' isn't a number of seconds", name);
        return 0;
    }
    return (uint64_t)llround(seconds * 1e3);
}

static bool get_boolean(struct decoding *decoding, const json_t *object, const char *name)
{
    const json_t *value = member(decoding, object, name);
    if (!json_is_boolean(value))
        refuse(decoding, "'%s' is neither true nor false", name);
    return json_is_true(value);
}

static void get_text(struct decoding *decoding, const json_t *object, const char *name, char *out, size_t size)
{
    const char *text = json_string_value(member(decoding, object, name));
    if (text == NULL || strlen(text) >= size || !safe_text_check(text))
        refuse(decoding, "'%s' isn't a name as hkstat writes it", name);
    else
        memcpy(out, text, strlen(text) + 1);
}

static void get_field(struct decoding *decoding, const json_t *value, void *base, const struct field *field)
{
    uint64_t *words = (uint64_t *)(void *)((char *)base + field->offset);
    if (field->length == 1) {
        words[0] = count_of(decoding, value, field->name, TICK_MOST);
        return;
    }
    if (field->words == NULL && json_array_size(value) != field->length) {
        refuse(decoding, "'%s' isn't an array of %zu numbers", field->name, field->length);
        return;
    }
    for (size_t i = 0; i < field->length; i++) {
        words[i] = field->words != NULL ? get_count(decoding, value, field->words[i], TICK_MOST)
                                        : count_of(decoding, json_array_get(value, i), field->name, TICK_MOST);
    }
}

static void get_fields(struct decoding *decoding, const json_t *object, void *base, const struct field_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct field *field = &table->fields[i];
        const json_t *value = member(decoding, object, field->name);
        if (value != NULL)
            get_field(decoding, value, base, field);
    }
}

static void get_class(struct decoding *decoding, const json_t *object, struct tick_process *process)
{
    uint64_t class_idx = get_count(decoding, object, "class", HK_ACCOUNT_CLASSES - 1);
    if (tick_find_class(process, class_idx) != NULL) {
        refuse(decoding, "class %" PRIu64 " is there twice", class_idx);
        return;
    }
    struct tick_class *class = tick_add_class(process);
    class->now.class_idx = (uint32_t)class_idx;
    class->now.block_size = (uint32_t)get_count(decoding, object, "size", UINT32_MAX);
    get_fields(decoding, object, &class->now, &account_fields);
    get_fields(decoding, object, &class->now, &capacity_fields);
    const json_t *cap = member(decoding, object, "cap");
    class->has_cap = !json_is_null(cap);
    if (class->has_cap)
        get_fields(decoding, cap, &class->cap, &cap_fields);
}

static void get_failures(struct decoding *decoding, const json_t *object, const char *name,
                         struct hk_failures *failures, size_t length, const char *const *words)
{
    const json_t *by = member(decoding, object, name);
    for (size_t i = 0; i < length; i++)
        get_fields(decoding, member(decoding, by, words[i]), &failures[i], &failure_fields);
}

static void get_since_attach(struct decoding *decoding, const json_t *object, struct hk_events *events)
{
    get_fields(decoding, object, events, &event_fields);
    const json_t *traffic = member(decoding, object, "traffic");
    for (size_t i = 0; i < HK_PURPOSES; i++)
        get_fields(decoding, member(decoding, traffic, purpose_words[i]), &events->traffic[i], &traffic_fields);
    get_failures(decoding, object, "shared_fails", events->shared_fails, HK_SHARED_FAILS, shared_fail_words);
    get_failures(decoding, object, "ace_fails", events->ace_fails, HK_ACE_FAILS, ace_fail_words);
    get_fields(decoding, member(decoding, object, "ace_fail_sizes"), events, &ace_size_fields);
    get_fields(decoding, member(decoding, object, "alloc_fails"), &events->alloc_fails, &failure_fields);
}

static void get_levels(struct decoding *decoding, const json_t *object, struct hk_process *info)
{
    for (size_t i = 0; i < level_fields.count; i++) {
        const json_t *value = member(decoding, object, level_fields.fields[i].name);
        if (json_is_null(value))
            continue;
        get_field(decoding, value, info, &level_fields.fields[i]);
        info->known |= level_known[i];
    }
}

static void get_process(struct decoding *decoding, const json_t *object, struct tick *tick)
{
    struct tick_process *process = tick_add_process(tick);
    process->info.key.pid = get_count(decoding, object, "pid", INT32_MAX);
    process->info.key.start_time = get_count(decoding, object, "start_time_ns", TICK_MOST);
    get_text(decoding, object, "comm", process->comm, sizeof process->comm);
    get_text(decoding, object, "executable", process->executable, sizeof process->executable);
    get_fields(decoding, object, &process->info, &process_fields);
    process->info.account = get_boolean(decoding, object, "account_known");
    process->complete = get_boolean(decoding, object, "complete");
    get_levels(decoding, object, &process->info);
    get_since_attach(decoding, member(decoding, object, "since_attach"), &process->info.events);
    const json_t *classes = member(decoding, object, "classes"), *class;
    size_t i;
    if (!json_is_array(classes))
        refuse(decoding, "'classes' isn't an array");
    json_array_foreach(classes, i, class) get_class(decoding, class, process);
}

static void get_ended(struct decoding *decoding, const json_t *object, struct tick *tick)
{
    struct tick_ended *ended = tick_add_ended(tick);
    get_text(decoding, object, "executable", ended->name, sizeof ended->name);
    ended->executable.device = get_count(decoding, object, "device", TICK_MOST);
    ended->executable.inode = get_count(decoding, object, "inode", TICK_MOST);
    ended->sums.totals.processes = get_count(decoding, object, "processes", TICK_MOST);
    get_fields(decoding, object, &ended->sums.totals.account, &account_fields);
    get_fields(decoding, object, &ended->sums.totals, &totals_fields);
    get_since_attach(decoding, member(decoding, object, "since_attach"), &ended->sums.events);
}

static void get_tick(struct decoding *decoding, const json_t *object, struct tick *tick)
{
    uint64_t version = get_count(decoding, object, "version", TICK_MOST);
    if (!decoding->failed && version != JSON_VERSION) {
        refuse(decoding, "it is of version %" PRIu64 ", and this hkstat reads version %d", version, JSON_VERSION);
        return;
    }
    tick->time_ms = (int64_t)get_ms(decoding, object, "time");
    if (!json_is_null(member(decoding, object, "interval")))
        tick->interval_ms = get_ms(decoding, object, "interval");
    tick->boot_ns = get_count(decoding, object, "boot_time_ns", TICK_MOST);
    tick->attached_ns = get_count(decoding, object, "attached_at_ns", TICK_MOST);
    tick->refreshed = get_boolean(decoding, object, "refreshed");
    const json_t *lost_by = member(decoding, object, "lost_by");
    for (size_t i = 0; i < HK_LOST_REASONS; i++)
        tick->lost[i] = get_count(decoding, lost_by, lost_words[i], TICK_MOST);

    const json_t *processes = member(decoding, object, "processes"), *ended = member(decoding, object, "ended"), *value;
    size_t i;
    if (!json_is_array(processes) || !json_is_array(ended) || json_array_size(processes) > MOST_PROCESSES)
        refuse(decoding, "'processes' or 'ended' isn't an array, or is too long");
    json_array_foreach(processes, i, value)
    {
        if (decoding->failed)
            return;
        get_process(decoding, value, tick);
    }
    json_array_foreach(ended, i, value)
    {
        if (decoding->failed)
            return;
        get_ended(decoding, value, tick);
    }
}

struct tick *json_decode(const char *text, size_t len, char *error)
{
    json_error_t syntax;
    json_t *object = json_loadb(text, len, JSON_REJECT_DUPLICATES, &syntax);
    if (object == NULL) {
        snprintf(error, JSON_ERROR_SIZE, "it isn't JSON, from byte %d on", syntax.position);
        return NULL;
    }
    struct decoding decoding = {.error = error};
    struct tick *tick = tick_new();
    get_tick(&decoding, object, tick);
    json_decref(object);
    if (decoding.failed) {
        tick_free(tick);
        return NULL;
    }
    return tick;
}
