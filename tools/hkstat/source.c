#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "json.h"
#include "memory.h"
#include "reader.h"

_Static_assert(SOURCE_ERROR_SIZE >= READER_ERROR_SIZE, "a reader's error must fit");

#define MOST_LINE ((size_t)256 << 20) /* bytes of a tick in a record */
#define FIRST_LINE ((size_t)64 << 10)

struct source {
    const char *pin_dir; /* NULL: a record */
    const char *path;
    uint64_t pid;
    FILE *record;
    uint64_t line; /* of the record, from 1 */
    char *text;    /* the line */
    size_t room;
    struct tick *now;   /* last told */
    struct tick *ahead; /* of a record: read, not told yet */
};

static struct source *source_new(uint64_t pid)
{
    struct source *source = memset(grow(NULL, 1, sizeof *source), 0, sizeof *source);
    source->pid = pid;
    return source;
}

struct source *source_live(const char *pin_dir, uint64_t pid)
{
    struct source *source = source_new(pid);
    source->pin_dir = pin_dir;
    return source;
}

struct source *source_record(const char *path, uint64_t pid)
{
    FILE *record = fopen(path, "re");
    if (record == NULL)
        return NULL;
    struct source *source = source_new(pid);
    source->path = path;
    source->record = record;
    return source;
}

void source_close(struct source *source)
{
    if (source->record != NULL)
        fclose(source->record);
    free(source->text);
    tick_free(source->now);
    tick_free(source->ahead);
    free(source);
}

bool source_is_record(const struct source *source)
{
    return source->record != NULL;
}

const char *source_pins(const struct source *source)
{
    return source->pin_dir;
}

/* Read a line, without its end, into source->text: its length, or -1 at the end of the record, with the reason in `error` if
 * that comes early. */
static ssize_t read_line(struct source *source, char *error)
{
    size_t length = 0;
    int c;
    while ((c = getc_unlocked(source->record)) != EOF && c != '\n' && length < MOST_LINE) {
        if (length == source->room) {
            source->room = source->room == 0 ? FIRST_LINE : source->room * 2;
            source->text = grow(source->text, source->room, 1);
        }
        source->text[length++] = (char)c;
    }
    source->line++;
    if (c == '\n')
        return (ssize_t)length;
    if (ferror(source->record))
        snprintf(error, SOURCE_ERROR_SIZE, "can't read %s: %s", source->path, strerror(errno));
    else if (length >= MOST_LINE)
        snprintf(error, SOURCE_ERROR_SIZE, "%s: line %llu is longer than a tick can be", source->path,
                 (unsigned long long)source->line);
    else if (length > 0)
        snprintf(error, SOURCE_ERROR_SIZE, "%s: the record is cut off in line %llu", source->path,
                 (unsigned long long)source->line);
    return -1;
}

static enum source_result read_record(struct source *source, struct tick **tick, char *error)
{
    ssize_t length = read_line(source, error);
    if (length < 0)
        return SOURCE_END;
    char why[JSON_ERROR_SIZE];
    *tick = json_decode(source->text, (size_t)length, why);
    if (*tick == NULL) {
        snprintf(error, SOURCE_ERROR_SIZE, "%s: line %llu is no tick: %s", source->path,
                 (unsigned long long)source->line, why);
        return SOURCE_FAILED;
    }
    if (source->pid != 0)
        tick_keep_pid(*tick, source->pid);
    tick_finish(*tick);
    return SOURCE_TICK;
}

static enum source_result read_live(const struct source *source, struct tick **tick, char *error)
{
    switch (reader_read(source->pin_dir, source->pid, tick, error)) {
    case READER_OK:
        break;
    case READER_NOT_ATTACHED:
        return SOURCE_NOT_ATTACHED;
    case READER_FAILED:
        return SOURCE_FAILED;
    }
    if (source->now != NULL) {
        uint64_t ms = ((*tick)->boot_ns - source->now->boot_ns + 500000) / 1000000;
        (*tick)->interval_ms = ms == 0 ? 1 : ms;
    }
    return SOURCE_TICK;
}

enum source_result source_next(struct source *source, const struct tick **tick, char *error)
{
    error[0] = '\0';
    struct tick *next = source->ahead;
    source->ahead = NULL;
    if (next == NULL) {
        enum source_result result = source->record != NULL ? read_record(source, &next, error)
                                                           : read_live(source, &next, error);
        if (result != SOURCE_TICK)
            return result;
    }
    tick_compare(next, source->now);
    tick_free(source->now);
    *tick = source->now = next;
    return SOURCE_TICK;
}

enum source_result source_at(struct source *source, int64_t time_ms, const struct tick **tick, char *error)
{
    for (;;) {
        enum source_result result = SOURCE_TICK;
        if (source->ahead == NULL)
            result = read_record(source, &source->ahead, error);
        if (result == SOURCE_FAILED)
            return result;
        if (result == SOURCE_END || source->ahead->time_ms > time_ms)
            break;
        if (source_next(source, tick, error) != SOURCE_TICK)
            return SOURCE_FAILED;
    }
    if (source->now == NULL)
        return SOURCE_END;
    *tick = source->now;
    return SOURCE_TICK;
}
