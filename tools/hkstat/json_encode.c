#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "fields.h"
#include "json.h"

/* Enough for milliseconds since the epoch and for every rate's thousandths, and no digit more than was measured. */
#define DIGITS 15

/* Out of memory is the one way in which building an object fails. */
static json_t *checked(json_t *value)
{
    if (value == NULL) {
        fputs("hkstat: out of memory\n", stderr);
        exit(EXIT_FAILURE);
    }
    return value;
}

static void set(json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new_nocheck(object, name, checked(value)) != 0)
        checked(NULL);
}

static void append(json_t *array, json_t *value)
{
    if (json_array_append_new(array, checked(value)) != 0)
        checked(NULL);
}

static json_t *count(uint64_t n)
{
    return json_integer((json_int_t)(n < TICK_MOST ? n : TICK_MOST));
}

static json_t *share_or_null(double share)
{
    return isnan(share) ? json_null() : json_real(share);
}

static json_t *field_value(const struct field *field, const void *base)
{
    const uint64_t *words = (const uint64_t *)(const void *)((const char *)base + field->offset);
    if (field->length == 1)
        return count(words[0]);
    json_t *value = checked(field->words != NULL ? json_object() : json_array());
    for (size_t i = 0; i < field->length; i++) {
        if (field->words != NULL)
            set(value, field->words[i], count(words[i]));
        else
            append(value, count(words[i]));
    }
    return value;
}

static void set_fields(json_t *object, const void *base, const struct field_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        set(object, table->fields[i].name, field_value(&table->fields[i], base));
}

/* What is made of the counts, for those who want one number; a reader of records makes it anew. */
static void set_account(json_t *object, const struct hk_class_account *account)
{
    set_fields(object, account, &account_fields);
    set(object, "live_blocks", count(tick_live_blocks(account)));
    set(object, "live_bytes", count(tick_live_bytes(account)));
    set(object, "hit_rate", share_or_null(tick_hit_rate(account->allocs, account->misses)));
    set(object, "superslab_hit_rate", share_or_null(tick_superslab_hit_rate(account)));
    set(object, "refills", count(tick_sum(account->refills, HK_SERVERS)));
    set(object, "drains", count(tick_sum(account->drains, HK_DRAIN_REASONS)));
    set(object, "shared_fail", count(tick_sum(account->shared_fails, HK_SHARED_FAILS)));
}

static void set_change(json_t *object, const struct tick *tick, const struct tick_change *change)
{
    for (enum tick_rate rate = 0; rate < TICK_RATES; rate++)
        set(object, tick_rate_names[rate], share_or_null(tick_per_s(tick, change, rate)));
    set(object, "interval_hit_rate", share_or_null(tick_interval_hit_rate(change)));
}

static json_t *class_object(const struct tick *tick, const struct tick_class *class)
{
    json_t *object = checked(json_object());
    set(object, "class", count(class->now.class_idx));
    set(object, "size", count(class->now.block_size));
    set_account(object, &class->now);
    set_fields(object, &class->now, &capacity_fields);
    set_change(object, tick, &class->change);
    json_t *cap = checked(class->has_cap ? json_object() : json_null());
    if (class->has_cap)
        set_fields(cap, &class->cap, &cap_fields);
    set(object, "cap", cap);
    return object;
}

static json_t *failures_by(const struct hk_failures *failures, size_t length, const char *const *words)
{
    json_t *object = checked(json_object());
    for (size_t i = 0; i < length; i++) {
        json_t *of_one = checked(json_object());
        set_fields(of_one, &failures[i], &failure_fields);
        set(object, words[i], of_one);
    }
    return object;
}

static json_t *since_attach_object(const struct hk_events *events)
{
    json_t *object = checked(json_object());
    set_fields(object, events, &event_fields);
    json_t *traffic = checked(json_object());
    for (size_t i = 0; i < HK_PURPOSES; i++) {
        json_t *of_one = checked(json_object());
        set_fields(of_one, &events->traffic[i], &traffic_fields);
        set(traffic, purpose_words[i], of_one);
    }
    set(object, "traffic", traffic);
    set(object, "shared_fails", failures_by(events->shared_fails, HK_SHARED_FAILS, shared_fail_words));
    set(object, "ace_fails", failures_by(events->ace_fails, HK_ACE_FAILS, ace_fail_words));
    json_t *ace_sizes = checked(json_object());
    set_fields(ace_sizes, events, &ace_size_fields);
    set(object, "ace_fail_sizes", ace_sizes);
    json_t *alloc_fails = checked(json_object());
    set_fields(alloc_fails, &events->alloc_fails, &failure_fields);
    set(object, "alloc_fails", alloc_fails);
    return object;
}

static json_t *process_object(const struct tick *tick, const struct tick_process *process)
{
    json_t *object = checked(json_object());
    set(object, "pid", count(process->info.key.pid));
    set(object, "start_time_ns", count(process->info.key.start_time));
    set(object, "comm", json_string_nocheck(process->comm));
    set(object, "executable", json_string_nocheck(process->executable));
    set_fields(object, &process->info, &process_fields);
    set(object, "account_known", json_boolean(tick_account_known(process)));
    set(object, "complete", json_boolean(process->complete));
    set_account(object, &process->now.account);
    set_fields(object, &process->now.account, &capacity_fields);
    set_fields(object, &process->now, &totals_fields);
    set_change(object, tick, &process->change);
    for (size_t i = 0; i < level_fields.count; i++) {
        const struct field *field = &level_fields.fields[i];
        bool known = (process->info.known & level_known[i]) != 0;
        set(object, field->name, known ? field_value(field, &process->info) : json_null());
    }
    set(object, "since_attach", since_attach_object(&process->info.events));
    json_t *classes = checked(json_array());
    for (size_t i = 0; i < process->class_count; i++)
        append(classes, class_object(tick, &process->classes[i]));
    set(object, "classes", classes);
    return object;
}

static json_t *ended_object(const struct tick_ended *ended)
{
    json_t *object = checked(json_object());
    set(object, "executable", json_string_nocheck(ended->name));
    set(object, "device", count(ended->executable.device));
    set(object, "inode", count(ended->executable.inode));
    set(object, "processes", count(ended->sums.totals.processes));
    set_account(object, &ended->sums.totals.account);
    set_fields(object, &ended->sums.totals, &totals_fields);
    set(object, "since_attach", since_attach_object(&ended->sums.events));
    return object;
}

static json_t *tick_object(const struct tick *tick)
{
    json_t *object = checked(json_object());
    set(object, "version", count(JSON_VERSION));
    set(object, "time", json_real((double)tick->time_ms / 1e3));
    set(object, "interval", tick->interval_ms == 0 ? json_null() : json_real((double)tick->interval_ms / 1e3));
    set(object, "boot_time_ns", count(tick->boot_ns));
    set(object, "attached_at_ns", count(tick->attached_ns));
    set(object, "refreshed", json_boolean(tick->refreshed));
    set(object, "lost", count(tick_sum(tick->lost, HK_LOST_REASONS)));
    json_t *lost_by = checked(json_object());
    for (size_t i = 0; i < HK_LOST_REASONS; i++)
        set(lost_by, lost_words[i], count(tick->lost[i]));
    set(object, "lost_by", lost_by);

    json_t *processes = checked(json_array());
    for (size_t i = 0; i < tick->process_count; i++)
        append(processes, process_object(tick, &tick->processes[i]));
    set(object, "processes", processes);
    json_t *ended = checked(json_array());
    for (size_t i = 0; i < tick->ended_count; i++)
        append(ended, ended_object(&tick->ended[i]));
    set(object, "ended", ended);
    return object;
}

void json_write(FILE *out, const struct tick *tick)
{
    json_t *object = tick_object(tick);
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS));
    json_decref(object);
    if (text == NULL) {
        checked(NULL);
        return;
    }
    fputs(text, out);
    fputc('\n', out);
    free(text);
}
