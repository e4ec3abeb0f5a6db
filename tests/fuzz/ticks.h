/* ticks.h - what a record must do with a tick: what was written reads as a tick that is written the same. */
#ifndef FUZZ_TICKS_H
#define FUZZ_TICKS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tools/hkstat/json.h"
#include "../../tools/hkstat/output.h"

struct text {
    char *bytes;
    size_t length;
};

static struct text written(const struct tick *tick)
{
    struct text text;
    FILE *out = open_memstream(&text.bytes, &text.length);
    if (out == NULL)
        abort();
    json_write(out, tick);
    fclose(out);
    return text;
}

/* `again`: of the text that `tick` was written as, and finished; compared with `before`, as `tick` was. */
static struct tick *read_again(const struct tick *tick, const struct tick *before)
{
    char error[JSON_ERROR_SIZE];
    struct text first = written(tick);
    struct tick *again = json_decode(first.bytes, first.length - 1, error);
    if (again == NULL) {
        fprintf(stderr, "%s\n%s", error, first.bytes);
        abort();
    }
    tick_finish(again);
    tick_compare(again, before);
    struct text second = written(again);
    if (first.length != second.length || memcmp(first.bytes, second.bytes, first.length) != 0) {
        fprintf(stderr, "%s%s", first.bytes, second.bytes);
        abort();
    }
    free(first.bytes);
    free(second.bytes);
    return again;
}

/* The other ways to show it. */
static void show(const struct tick *tick)
{
    static FILE *nowhere;
    if (nowhere == NULL && (nowhere = fopen("/dev/null", "we")) == NULL)
        abort();
    output_line(nowhere, tick, true);
    output_csv(nowhere, tick, true);
    output_table(nowhere, tick, 0, true);
    if (tick->process_count > 0)
        output_table(nowhere, tick, tick->processes[0].info.key.pid, false);
}

#endif
