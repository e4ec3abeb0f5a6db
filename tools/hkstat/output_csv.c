#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "fields.h"
#include "output.h"

static void put_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void put_number(FILE *out, double number)
{
    if (isnan(number))
        fputc(',', out);
    else
        fprintf(out, ",%.15g", number);
}

/* The names of a table's fields, or their numbers in `base`; histograms don't fit in a line. */
static void put_fields(FILE *out, const struct field_table *table, const void *base)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct field *field = &table->fields[i];
        if (field->length > 1 && field->words == NULL)
            continue;
        for (size_t word = 0; word < field->length; word++) {
            uint64_t value;
            if (base == NULL) {
                fprintf(out, ",%s%s%s", field->name, field->length > 1 ? "_" : "",
                        field->length > 1 ? field->words[word] : "");
            } else {
                memcpy(&value, (const char *)base + field->offset + word * sizeof value, sizeof value);
                fprintf(out, ",%" PRIu64, value < TICK_MOST ? value : TICK_MOST);
            }
        }
    }
}

static void put_header(FILE *out)
{
    fputs("time,interval,lost,pid,start_time_ns,comm,executable", out);
    put_fields(out, &account_fields, NULL);
    put_fields(out, &capacity_fields, NULL);
    put_fields(out, &totals_fields, NULL);
    put_fields(out, &level_fields, NULL);
    fputs(",live_blocks,live_bytes,hit_rate,superslab_hit_rate", out);
    for (enum tick_rate rate = 0; rate < TICK_RATES; rate++)
        fprintf(out, ",%s", tick_rate_names[rate]);
    fputs(",interval_hit_rate\r\n", out);
}

static void put_levels(FILE *out, const struct hk_process *info)
{
    for (size_t i = 0; i < level_fields.count; i++) {
        const struct field_table one = {&level_fields.fields[i], 1};
        if (info->known & level_known[i])
            put_fields(out, &one, info);
        else
            fputc(',', out);
    }
}

static void put_process(FILE *out, const struct tick *tick, const struct tick_process *process)
{
    const struct hk_class_account *account = &process->now.account;
    fprintf(out, "%.3f,", (double)tick->time_ms / 1e3);
    if (tick->interval_ms != 0)
        fprintf(out, "%.3f", (double)tick->interval_ms / 1e3);
    fprintf(out, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",", tick_sum(tick->lost, HK_LOST_REASONS), process->info.key.pid,
            process->info.key.start_time);
    put_text(out, process->comm);
    fputc(',', out);
    put_text(out, process->executable);
    put_fields(out, &account_fields, account);
    put_fields(out, &capacity_fields, account);
    put_fields(out, &totals_fields, &process->now);
    put_levels(out, &process->info);
    fprintf(out, ",%" PRIu64 ",%" PRIu64, tick_live_blocks(account), tick_live_bytes(account));
    put_number(out, tick_hit_rate(account->allocs, account->misses));
    put_number(out, tick_superslab_hit_rate(account));
    for (enum tick_rate rate = 0; rate < TICK_RATES; rate++)
        put_number(out, tick_per_s(tick, &process->change, rate));
    put_number(out, tick_interval_hit_rate(&process->change));
    fputs("\r\n", out);
}

void output_csv(FILE *out, const struct tick *tick, bool header)
{
    if (header)
        put_header(out);
    for (size_t i = 0; i < tick->process_count; i++)
        put_process(out, tick, &tick->processes[i]);
}
