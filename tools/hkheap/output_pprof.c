/* output_pprof.c - pprof's profile.proto (github.com/google/pprof, proto/profile.proto), gzipped. The fields that are written, by the
 * numbers of their messages:
 *
 *   Profile   1 sample_type, 2 sample, 3 mapping, 4 location, 5 function, 6 string_table, 9 time_nanos, 10 duration_nanos,
 *             11 period_type, 12 period, 14 default_sample_type
 *   ValueType 1 type, 2 unit         Sample 1 location_id, 2 value       Location 1 id, 2 mapping_id, 3 address, 4 line
 *   Line 1 function_id               Function 1 id, 2 name, 3 system_name, 4 filename */
#include "output.h"

#include <math.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "memory.h"

struct bytes {
    uint8_t *at;
    size_t length, room;
};

/* A table of what is numbered once: strings from 0, locations and functions from 1. */
struct numbered {
    struct frame frame;
    const char *text;
    uint64_t number;
};

struct writer {
    struct bytes profile;
    void *strings, *locations;
    uint64_t string_count, location_count;
};

static void put_raw(struct bytes *bytes, const void *data, size_t length)
{
    if (bytes->length + length > bytes->room) {
        bytes->room = (bytes->length + length) * 2;
        bytes->at = grow(bytes->at, bytes->room, 1);
    }
    memcpy(bytes->at + bytes->length, data, length);
    bytes->length += length;
}

static void put_varint(struct bytes *bytes, uint64_t n)
{
    uint8_t out[10];
    size_t length = 0;
    do {
        out[length++] = (uint8_t)(n | 0x80);
        n >>= 7;
    } while (n != 0);
    out[length - 1] &= 0x7f;
    put_raw(bytes, out, length);
}

static void put_number(struct bytes *bytes, unsigned field, uint64_t n)
{
    put_varint(bytes, field << 3);
    put_varint(bytes, n);
}

static void put_text(struct bytes *bytes, unsigned field, const void *data, size_t length)
{
    put_varint(bytes, field << 3 | 2);
    put_varint(bytes, length);
    put_raw(bytes, data, length);
}

static void put_message(struct bytes *bytes, unsigned field, struct bytes *message)
{
    put_text(bytes, field, message->at, message->length);
    message->length = 0;
}

static int compare_numbered(const void *a, const void *b)
{
    const struct numbered *x = a, *y = b;
    if (x->text != NULL)
        return strcmp(x->text, y->text);
    if (x->frame.address != y->frame.address)
        return x->frame.address > y->frame.address ? 1 : -1;
    /* One address had two names if libraries came and went. Names are interned: any order of them will do. */
    uintptr_t ours = (uintptr_t)x->frame.function, theirs = (uintptr_t)y->frame.function;
    return (ours > theirs) - (ours < theirs);
}

/* The entry's number; *added: it is new. */
static uint64_t number_of(void **table, struct numbered wanted, uint64_t *count, bool *added)
{
    void *node = tfind(&wanted, table, compare_numbered);
    *added = node == NULL;
    if (node != NULL)
        return (*(struct numbered **)node)->number;
    struct numbered *entry = grow(NULL, 1, sizeof *entry);
    *entry = wanted;
    entry->number = (*count)++;
    if (tsearch(entry, table, compare_numbered) == NULL)
        out_of_memory();
    return entry->number;
}

static uint64_t string(struct writer *writer, const char *text)
{
    bool added;
    uint64_t number = number_of(&writer->strings, (struct numbered){.text = text}, &writer->string_count, &added);
    if (added)
        put_text(&writer->profile, 6, text, strlen(text));
    return number;
}

static uint64_t location(struct writer *writer, const struct frame *frame)
{
    char name[FRAME_NAME_SIZE];
    struct bytes message = {NULL, 0, 0}, line = {NULL, 0, 0};
    bool added;
    uint64_t number =
        number_of(&writer->locations, (struct numbered){.frame = *frame}, &writer->location_count, &added) + 1;
    if (!added)
        return number;
    frame_name(frame, false, name);
    put_number(&message, 1, number);
    put_number(&message, 2, string(writer, intern(name)));
    put_number(&message, 3, string(writer, intern(name)));
    put_number(&message, 4, string(writer, frame->file));
    put_message(&writer->profile, 5, &message); /* a function of its own */
    put_number(&line, 1, number);
    put_number(&message, 1, number);
    put_number(&message, 3, frame->address);
    put_message(&message, 4, &line);
    put_message(&writer->profile, 4, &message);
    free(message.at);
    free(line.at);
    return number;
}

static void put_type(struct writer *writer, unsigned field, const char *type, const char *unit)
{
    struct bytes message = {NULL, 0, 0};
    put_number(&message, 1, string(writer, type));
    put_number(&message, 2, string(writer, unit));
    put_message(&writer->profile, field, &message);
    free(message.at);
}

static void put_sample(struct writer *writer, const struct site *site)
{
    struct bytes message = {NULL, 0, 0};
    const double values[] = {site->allocated.blocks, site->allocated.bytes, site->live.blocks, site->live.bytes};
    for (unsigned i = 0; i < site->depth; i++)
        put_number(&message, 1, location(writer, &site->frames[i]));
    for (unsigned i = 0; i < 4; i++)
        put_number(&message, 2, (uint64_t)llround(values[i] > 0 ? values[i] : 0));
    put_message(&writer->profile, 2, &message);
    free(message.at);
}

static bool compress_to(FILE *out, const struct bytes *bytes)
{
    int fd = dup(fileno(out));
    gzFile file = fflush(out) == 0 && fd >= 0 ? gzdopen(fd, "wb") : NULL;
    bool written = file != NULL && gzwrite(file, bytes->at, (unsigned)bytes->length) == (int)bytes->length;
    if (file == NULL && fd >= 0)
        close(fd);
    return file != NULL && gzclose(file) == Z_OK && written;
}

bool output_pprof(FILE *out, const struct profile *profile)
{
    struct writer writer = {.string_count = 0};
    string(&writer, "");
    put_type(&writer, 1, "alloc_objects", "count");
    put_type(&writer, 1, "alloc_space", "bytes");
    put_type(&writer, 1, "inuse_objects", "count");
    put_type(&writer, 1, "inuse_space", "bytes");
    for (size_t i = 0; i < profile->site_count; i++)
        put_sample(&writer, profile->sites[i]);
    put_number(&writer.profile, 9, (uint64_t)(profile->time * 1e9));
    put_number(&writer.profile, 10, (uint64_t)(profile->seconds * 1e9));
    put_type(&writer, 11, "space", "bytes");
    put_number(&writer.profile, 14, string(&writer, "inuse_space"));
    bool written = compress_to(out, &writer.profile);
    tdestroy(writer.strings, free);
    tdestroy(writer.locations, free);
    free(writer.profile.at);
    return written;
}
