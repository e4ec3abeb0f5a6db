#include "footprint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fields.h"
#include "memory.h"
#include "src/failures.h"

const char *const footprint_failure_kinds[] = {
#define HK_FAILURE(name, text) #name,
#include "src/failures.def"
#undef HK_FAILURE
};
_Static_assert(FOOTPRINT_FAILURE_KINDS == HK_FAILURE_KINDS, "a count for each");

_Static_assert(OS_LIMIT_UNKNOWN + 1 < HK_LIMITS, "limit_words has each");

const char *footprint_limit(uint32_t limit)
{
    return limit_words[limit < OS_LIMIT_UNKNOWN ? limit : OS_LIMIT_UNKNOWN];
}

/* An entry that is whole; whatever it says, nothing of it is out of range. */
static void take(const struct hk_failure *from, unsigned kind, struct footprint *footprint)
{
    struct footprint_failure *to = &footprint->failures[footprint->failure_count++];
    *to = (struct footprint_failure){
        .kind = kind,
        .time_ns = from->time_ns,
        .size = from->size,
        .error = from->error,
        .limit = from->limit,
        .tid = from->trace.tid,
        .depth = from->trace.depth < FOOTPRINT_FRAMES ? from->trace.depth : FOOTPRINT_FRAMES,
    };
    for (unsigned i = 0; i < to->depth; i++)
        to->frames[i] = from->trace.pcs[i];
}

void footprint_read_failures(const struct address_space *space, uint64_t at, struct footprint *footprint)
{
    static struct hk_recorder recorder;
    if (!address_space_read(space, at, &recorder, sizeof recorder) || recorder.version != HK_RECORDER_VERSION ||
        recorder.length != sizeof recorder) {
        footprint->unreadable++;
        return;
    }
    footprint->failures = grow(NULL, (size_t)HK_FAILURE_KINDS * HK_RECORDER_KEPT, sizeof *footprint->failures);
    for (unsigned kind = 0; kind < HK_FAILURE_KINDS; kind++) {
        uint64_t count = recorder.counts[kind];
        footprint->failure_counts[kind] = count;
        for (unsigned n = 0; n < HK_RECORDER_KEPT && n < count; n++) {
            const struct hk_failure *entry = &recorder.kept[kind][(count - 1 - n) % HK_RECORDER_KEPT];
            if (entry->sequence != 0 && entry->sequence % 2 == 0)
                take(entry, kind, footprint);
        }
    }
}

void footprint_frame(const struct address_space *space, uint64_t address, char *text, size_t size)
{
    const struct mapping *mapping = address_space_find(space, address);
    if (mapping != NULL && mapping->path != NULL)
        snprintf(text, size, "%s+0x%" PRIx64, mapping->path, address - mapping->span.from + mapping->offset);
    else
        snprintf(text, size, "0x%" PRIx64, address);
}
