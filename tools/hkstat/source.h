/* source.h - where ticks come from: the pinned maps, or a record. Both look the same to what shows them. */
#ifndef HKSTAT_SOURCE_H
#define HKSTAT_SOURCE_H

#include <stdint.h>

#include "tick.h"

#define SOURCE_ERROR_SIZE 768

enum source_result {
    SOURCE_TICK,
    SOURCE_END,          /* of the record */
    SOURCE_NOT_ATTACHED, /* there are no pins */
    SOURCE_FAILED,
};

struct source;

/* The pins below `pin_dir`, or the record at `path`; of all processes, or of the one with `pid` (0: all). The strings are
 * kept, not copied. source_record(): NULL with errno if the file can't be opened. */
struct source *source_live(const char *pin_dir, uint64_t pid);
struct source *source_record(const char *path, uint64_t pid);
void source_close(struct source *source);

/* The next tick, compared with the one before: *tick is valid until the next call. Live, that is now. SOURCE_END: `error`
 * is empty, or says why the record ends early. SOURCE_FAILED, SOURCE_NOT_ATTACHED: `error`, of SOURCE_ERROR_SIZE bytes, says
 * what is wrong, and *tick stays as it was. */
enum source_result source_next(struct source *source, const struct tick **tick, char *error);

/* The tick that was on the screen at `time_ms` since the epoch: the last that is not later. SOURCE_END: there is none. */
enum source_result source_at(struct source *source, int64_t time_ms, const struct tick **tick, char *error);

bool source_is_record(const struct source *source);
const char *source_pins(const struct source *source); /* the pin folder; NULL: a record */

#endif
