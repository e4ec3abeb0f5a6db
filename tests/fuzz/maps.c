/* maps.c - fuzzer: what the pinned maps hold, be it of another version or a process's lies. libbpf's calls and the pins are played
 * here; hkstat's readers, and all that shows what they read, are the real ones. Two ticks, and both as a record tells them; the stacks of
 * callers; what is attached. */
#include "ticks.h"

#include <bpf/bpf.h>
#include <errno.h>

#include "../../tools/hkstat/callers.h"
#include "../../tools/hkstat/commands.h"
#include "../../tools/hkstat/complain.h"
#include "../../tools/hkstat/pins.h"
#include "../../tools/hkstat/reader.h"
#include "../../tools/hkstat/targets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *bytes;
static size_t left;

static uint64_t number(unsigned width)
{
    uint64_t n = 0;
    for (; width > 0 && left > 0; width--, left--)
        n = n << 8 | *bytes++;
    return n;
}

/* One byte all over, then a few words. */
static void make(void *value, size_t size)
{
    memset(value, (int)number(1), size);
    for (unsigned patches = (unsigned)number(1) % 16; patches > 0 && size >= 8; patches--) {
        uint64_t word = number(8);
        memcpy((char *)value + number(2) % (size / 8) * 8, &word, sizeof word);
    }
}

static const struct fake_map {
    const char *name;
    unsigned key_size, value_size;
} maps[] = {
    {"summary", sizeof(uint32_t), sizeof(struct hk_summary)},
    {"processes", sizeof(struct hk_process_key), sizeof(struct hk_process)},
    {"accounts", sizeof(struct hk_class_key), sizeof(struct hk_class_account)},
    {"caps", sizeof(struct hk_class_key), sizeof(struct hk_cap)},
    {"ended", sizeof(struct hk_executable), sizeof(struct hk_ended)},
    {"lost", sizeof(uint32_t), sizeof(uint64_t)},
    {"stacks", sizeof(struct hk_stack_key), sizeof(struct hk_stack)},
    {"targets", sizeof(uint32_t), sizeof(struct hk_target)},
};
#define MAPS (sizeof maps / sizeof maps[0])
#define FIRST_FD 1000

static const struct fake_map *map_of(int fd)
{
    return &maps[fd - FIRST_FD];
}

/* ---- what the readers call ---- */

void complain_as(const char *name)
{
    (void)name;
}

void complain(const char *format, ...)
{
    (void)format;
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    return fd >= FIRST_FD ? 0 : __real_close(fd);
}

int pins_open_map(const char *dir, const char *name, bool writable)
{
    (void)dir, (void)writable;
    for (unsigned i = 0; i < MAPS; i++)
        if (strcmp(maps[i].name, name) == 0 && number(1) != 1)
            return FIRST_FD + (int)i;
    errno = number(1) % 2 == 0 ? ENOENT : EACCES;
    return -1;
}

bool pins_refresh(const char *dir)
{
    (void)dir;
    return number(1) % 2 == 0;
}

enum pins_state pins_look(const char *dir)
{
    (void)dir;
    return (enum pins_state)(number(1) % (PINS_CLOSED + 1));
}

bool pins_read_summary(const char *dir, struct hk_summary *summary)
{
    (void)dir;
    make(summary, sizeof *summary);
    return number(1) != 1;
}

const char *const probe_names[HK_PROBE_COUNT] = {
#define HK_PROBE(name, n, args, text) #name,
#include "probes/hakmem_probes.def"
#undef HK_PROBE
};

bool target_is_alive(const struct hk_target *target)
{
    return target->start_time % 2 == 0;
}

int bpf_map_get_next_key(int fd, const void *key, void *next)
{
    (void)key;
    if (left == 0 || number(1) == 1)
        return -1;
    make(next, map_of(fd)->key_size);
    return 0;
}

int bpf_obj_get_info_by_fd(int fd, void *info, uint32_t *length)
{
    struct bpf_map_info *of = info;
    (void)length;
    of->key_size = map_of(fd)->key_size;
    of->value_size = map_of(fd)->value_size + (number(1) == 1);
    return 0;
}

int bpf_map_lookup_elem(int fd, const void *key, void *value)
{
    (void)key;
    make(value, map_of(fd)->value_size);
    if (map_of(fd) == &maps[0] && number(1) != 1)
        ((struct hk_summary *)value)->version = HK_MAPS_VERSION;
    return 0;
}

int bpf_map_lookup_batch(int fd, void *in, void *out, void *keys, void *values, uint32_t *count,
                         const struct bpf_map_batch_opts *options)
{
    const struct fake_map *map = map_of(fd);
    (void)in, (void)out, (void)options;
    *count = (uint32_t)number(1) % 8;
    for (unsigned i = 0; i < *count; i++) {
        char *key = (char *)keys + (size_t)i * map->key_size;
        make(key, map->key_size);
        if (map->key_size >= sizeof(struct hk_process_key) && map->key_size <= sizeof(struct hk_class_key)) {
            struct hk_process_key *process = (struct hk_process_key *)(void *)key;
            *process = (struct hk_process_key){1 + process->pid % 4, process->start_time % 2};
        }
        if (map->key_size == sizeof(struct hk_class_key))
            ((struct hk_class_key *)(void *)key)->class_idx %= HK_ACCOUNT_CLASSES + 1;
        make((char *)values + (size_t)i * map->value_size, map->value_size);
    }
    if (left > 0 && number(1) % 2 == 0)
        return 0;
    errno = ENOENT;
    return -1;
}

/* ---- the fuzzer ---- */

static void read_callers(void)
{
    char error[CALLERS_ERROR_SIZE], failure[64];
    struct callers callers;
    if (!callers_read("/sys/fs/bpf/hakmem", NULL, &callers, error))
        return;
    for (size_t i = 0; i < callers.count; i++)
        callers_failure(&callers.list[i].key, failure, sizeof failure);
    callers_free(&callers);
}

static void read_status(void)
{
    static bool quiet;
    char name[] = "status", *arguments[] = {name, NULL};
    if (!quiet && freopen("/dev/null", "w", stdout) == NULL)
        abort();
    quiet = true;
    hkstat_status(1, arguments);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[READER_ERROR_SIZE];
    struct tick *before = NULL, *before_again = NULL, *tick;
    bytes = data;
    left = size;
    for (unsigned n = 0; n < 2; n++) {
        if (reader_read("/sys/fs/bpf/hakmem", number(1) % 4, &tick, error) != READER_OK)
            break;
        tick->interval_ms = before != NULL ? 1 + number(2) : 0;
        tick_compare(tick, before);
        show(tick);
        struct tick *again = read_again(tick, before_again);
        tick_free(before);
        tick_free(before_again);
        before = tick;
        before_again = again;
    }
    tick_free(before);
    tick_free(before_again);
    read_callers();
    read_status();
    return 0;
}
