#include "reader.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "memory.h"
#include "pins.h"

#define FIRST_BATCH 256u

struct reading {
    const char *pin_dir;
    uint64_t pid;
    struct tick *tick;
    struct tick *known; /* the processes before the accounts were read anew */
    char *error;
    enum reader_result result;
};

static bool __attribute__((format(printf, 3, 4)))
failed(struct reading *reading, enum reader_result result, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(reading->error, READER_ERROR_SIZE, format, args);
    va_end(args);
    reading->result = result;
    return false;
}

static bool cant_open(struct reading *reading, const char *name, int error)
{
    const char *dir = reading->pin_dir;
    if (error == ENOENT || error == ENOTDIR)
        return failed(reading, READER_NOT_ATTACHED,
                      "nothing is attached (no %s/maps/%s): as root, 'hkstat attach --all' or 'hkstat attach -p PID'",
                      dir, name);
    if (error == EACCES || error == EPERM)
        return failed(reading, READER_FAILED,
                      "may not read %s/maps/%s: attached by root with 'hkstat attach --mode 0644' everybody may; where "
                      "/sys/fs/bpf itself is closed, use another bpffs (--pin-dir)",
                      dir, name);
    return failed(reading, READER_FAILED, "can't open %s/maps/%s: %s", dir, name, strerror(error));
}

/* The map's descriptor; -1: it isn't there, or isn't what this program knows. */
static int open_map(struct reading *reading, const char *name, size_t key_size, size_t value_size)
{
    int fd = pins_open_map(reading->pin_dir, name, false);
    if (fd < 0) {
        cant_open(reading, name, errno);
        return -1;
    }
    struct bpf_map_info info = {0};
    uint32_t length = sizeof info;
    if (bpf_obj_get_info_by_fd(fd, &info, &length) == 0 && info.key_size == key_size && info.value_size == value_size)
        return fd;
    failed(
        reading, READER_FAILED,
        "%s/maps/%s isn't of this version of hkstat: 'hkstat detach' and attach again, or use the hkstat that attached",
        reading->pin_dir, name);
    close(fd);
    return -1;
}

typedef void visit_entry(struct reading *reading, const void *key, const void *value);

/* Batches of a hash: each bucket is read at once, ENOENT says the end, ENOSPC that a bucket is larger than the batch. */
static bool read_hash(struct reading *reading, const char *name, size_t key_size, size_t value_size, visit_entry *visit)
{
    int fd = open_map(reading, name, key_size, value_size);
    if (fd < 0)
        return false;
    uint32_t room = FIRST_BATCH, position = 0, next = 0;
    char *keys = grow(NULL, room, key_size), *values = grow(NULL, room, value_size);
    int error = 0;
    for (bool first = true; error == 0;) {
        uint32_t count = room;
        error = bpf_map_lookup_batch(fd, first ? NULL : &position, &next, keys, values, &count, NULL) == 0 ? 0 : errno;
        if (error == ENOSPC && room < 1u << 20) {
            room *= 2;
            keys = grow(keys, room, key_size);
            values = grow(values, room, value_size);
            error = 0;
            continue;
        }
        for (uint32_t i = 0; (error == 0 || error == ENOENT) && i < count; i++)
            visit(reading, keys + i * key_size, values + i * value_size);
        position = next;
        first = false;
    }
    free(keys);
    free(values);
    close(fd);
    return error == ENOENT ||
           failed(reading, READER_FAILED, "can't read the map %s of %s: %s", name, reading->pin_dir, strerror(error));
}

static void visit_process(struct reading *reading, const void *key, const void *value)
{
    const struct hk_process *info = value;
    const struct hk_process_key *process_key = key;
    if (info->state == HK_PROCESS_ENDED || (reading->pid != 0 && process_key->pid != reading->pid))
        return;
    struct tick_process *process = tick_add_process(reading->tick);
    process->info = *info;
    process->info.key = *process_key;
    safe_text(process->comm, info->comm, HK_COMM_LENGTH);
    safe_text(process->executable, info->executable.name, HK_NAME_LENGTH);
}

static void visit_account(struct reading *reading, const void *key, const void *value)
{
    const struct hk_class_key *class_key = key;
    struct tick_process *process = tick_find(reading->tick, &class_key->process);
    if (process == NULL || class_key->class_idx >= HK_ACCOUNT_CLASSES)
        return;
    struct tick_class *class = tick_add_class(process);
    memcpy(&class->now, value, sizeof class->now);
    class->now.class_idx = (uint32_t)class_key->class_idx;
}

static void visit_cap(struct reading *reading, const void *key, const void *value)
{
    const struct hk_class_key *class_key = key;
    struct tick_process *process = tick_find(reading->tick, &class_key->process);
    struct tick_class *class = process != NULL ? tick_find_class(process, class_key->class_idx) : NULL;
    if (class == NULL)
        return;
    class->has_cap = true;
    memcpy(&class->cap, value, sizeof class->cap);
}

static void visit_ended(struct reading *reading, const void *key, const void *value)
{
    if (((const struct hk_ended *)value)->totals.processes == 0)
        return;
    struct tick_ended *ended = tick_add_ended(reading->tick);
    memcpy(&ended->executable, key, sizeof ended->executable);
    memcpy(&ended->sums, value, sizeof ended->sums);
    safe_text(ended->name, ended->executable.name, HK_NAME_LENGTH);
}

static bool read_summary(struct reading *reading)
{
    struct hk_summary summary;
    uint32_t zero = 0;
    int fd = open_map(reading, "summary", sizeof zero, sizeof summary);
    if (fd < 0)
        return false;
    bool read = bpf_map_lookup_elem(fd, &zero, &summary) == 0;
    close(fd);
    if (!read)
        return failed(reading, READER_FAILED, "can't read the map summary of %s", reading->pin_dir);
    if (summary.version != HK_MAPS_VERSION)
        return failed(
            reading, READER_FAILED,
            "the pins in %s are of version %llu, this hkstat reads version %u: 'hkstat detach' and attach again, or "
            "use the hkstat that attached",
            reading->pin_dir, (unsigned long long)summary.version, HK_MAPS_VERSION);
    reading->tick->attached_ns = summary.attached_at;
    return true;
}

static bool read_lost(struct reading *reading)
{
    int fd = open_map(reading, "lost", sizeof(uint32_t), sizeof(uint64_t));
    bool read = fd >= 0;
    for (uint32_t i = 0; read && i < HK_LOST_REASONS; i++)
        read = bpf_map_lookup_elem(fd, &i, &reading->tick->lost[i]) == 0 ||
               failed(reading, READER_FAILED, "can't read the map lost of %s", reading->pin_dir);
    if (fd >= 0)
        close(fd);
    return read;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool read_processes(struct reading *reading, struct tick *into)
{
    struct tick *tick = reading->tick;
    reading->tick = into;
    bool read =
        read_hash(reading, "processes", sizeof(struct hk_process_key), sizeof(struct hk_process), visit_process);
    reading->tick = tick;
    tick_order_processes(into);
    return read;
}

/* A process whose account was known when the accounts were read anew has all of its classes in the map. */
static void mark_complete(struct reading *reading)
{
    for (size_t i = 0; i < reading->tick->process_count; i++) {
        struct tick_process *process = &reading->tick->processes[i];
        const struct tick_process *known = tick_find(reading->known, &process->info.key);
        process->complete = reading->tick->refreshed && known != NULL && known->info.account != 0 &&
                            process->info.generation != 0 &&
                            (known->info.generation == process->info.generation || known->info.generation == 0);
    }
}

static bool read_all(struct reading *reading)
{
    struct tick *tick = reading->tick;
    if (!read_summary(reading) || !read_processes(reading, reading->known))
        return false;
    tick->refreshed = pins_refresh(reading->pin_dir);
    tick->time_ms = (int64_t)(clock_ns(CLOCK_REALTIME) / 1000000u);
    tick->boot_ns = clock_ns(CLOCK_BOOTTIME);
    if (!read_processes(reading, tick))
        return false;
    mark_complete(reading);
    return read_hash(reading, "accounts", sizeof(struct hk_class_key), sizeof(struct hk_class_account),
                     visit_account) &&
           read_hash(reading, "caps", sizeof(struct hk_class_key), sizeof(struct hk_cap), visit_cap) &&
           read_hash(reading, "ended", sizeof(struct hk_executable), sizeof(struct hk_ended), visit_ended) &&
           read_lost(reading);
}

enum reader_result reader_read(const char *pin_dir, uint64_t pid, struct tick **tick, char *error)
{
    struct reading reading = {
        .pin_dir = pin_dir, .pid = pid, .tick = tick_new(), .known = tick_new(), .error = error, .result = READER_OK};
    bool read = read_all(&reading);
    tick_free(reading.known);
    if (!read) {
        tick_free(reading.tick);
        return reading.result;
    }
    tick_finish(reading.tick);
    *tick = reading.tick;
    return READER_OK;
}
