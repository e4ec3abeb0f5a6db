/* status.c - hkstat status: what is attached, and whether anything was lost. */
#include <argp.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "complain.h"
#include "pins.h"
#include "safe_text.h"
#include "targets.h"

enum key { KEY_PIN_DIR = 256 };

static const struct argp_option options[] = {
    {"pin-dir", KEY_PIN_DIR, "DIR", 0, "Where maps and links are pinned; default " HK_PIN_DIR, 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    if (key != KEY_PIN_DIR)
        return ARGP_ERR_UNKNOWN;
    *(const char **)state->input = arg;
    return 0;
}

/* "all", or the names of the probes. */
static void print_probes(uint64_t probes)
{
    if (probes == TARGETS_ALL_PROBES || (probes & ~TARGETS_PROBE(thread_exit)) == TARGETS_DEFAULT_PROBES) {
        printf("%s probes\n", probes == TARGETS_ALL_PROBES ? "all" : "default");
        return;
    }
    const char *comma = "";
    for (unsigned i = 0; i < HK_PROBE_COUNT; i++)
        if ((probes >> i & 1) != 0) {
            printf("%s%s", comma, probe_names[i]);
            comma = ",";
        }
    printf("\n");
}

static void print_target(const struct hk_target *target)
{
    char safe[SAFE_TEXT_SIZE(HK_PATH_LENGTH)];
    safe_text(safe, target->path, sizeof target->path);
    if (target->pid == 0)
        printf("  all processes with %s: ", safe);
    else
        printf("  process %" PRIu64 "%s with %s: ", target->pid, target_is_alive(target) ? "" : " (ended)", safe);
    print_probes(target->probes);
}

static bool print_targets(const char *dir)
{
    struct hk_target target;
    uint32_t number, *previous = NULL;
    int map = pins_open_map(dir, "targets", false);
    if (map < 0)
        return false;
    for (; bpf_map_get_next_key(map, previous, &number) == 0; previous = &number)
        if (bpf_map_lookup_elem(map, &number, &target) == 0)
            print_target(&target);
    close(map);
    return true;
}

static bool print_lost(const char *dir)
{
    static const char *const texts[HK_LOST_REASONS] = {
        [HK_LOST_MAP_FULL] = "a map was full: detach, and attach with a larger --max-processes",
        [HK_LOST_READ_FAULT] = "an account could not be read from its process",
        [HK_LOST_BAD_CLASS] = "an event told of a class that can't be",
        [HK_LOST_BAD_ACCOUNT] = "an account was not what it should be",
        [HK_LOST_BUSY] = "the process had just called exec",
        [HK_LOST_STACK] = "a stack could not be walked",
    };
    int map = pins_open_map(dir, "lost", false);
    uint64_t all = 0;
    if (map < 0)
        return false;
    for (uint32_t reason = 0; reason < HK_LOST_REASONS; reason++) {
        uint64_t count = 0;
        if (bpf_map_lookup_elem(map, &reason, &count) != 0 || count == 0)
            continue;
        printf("lost: %" PRIu64 ", since %s\n", count, texts[reason]);
        all += count;
    }
    close(map);
    if (all == 0)
        printf("lost: 0\n");
    return true;
}

static bool print_status(const char *dir)
{
    struct hk_summary summary;
    struct timespec now;
    if (!pins_read_summary(dir, &summary))
        return false;
    clock_gettime(CLOCK_BOOTTIME, &now);
    uint64_t seconds = (uint64_t)now.tv_sec - summary.attached_at / 1000000000u;
    printf("attached for %" PRIu64 " s, by %s, pinned in %s%s\n", seconds,
           summary.link_kind == HK_LINK_UPROBE_MULTI ? "uprobe_multi links" : "perf events", dir,
           summary.with_stacks != 0 ? ", with stacks" : "");
    if (!print_targets(dir))
        return false;
    printf("processes: %" PRIu64 " seen, %" PRIu64 " of them ended\n", summary.totals.processes,
           summary.processes_ended);
    return print_lost(dir);
}

int hkstat_status(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc = "Show what is attached, and whether anything was lost. Exit status: 0 if something is attached, else 1.",
    };
    const char *dir = HK_PIN_DIR;
    complain_as("hkstat status");
    argp_parse(&argp, argc, argv, 0, NULL, &dir);
    switch (pins_look(dir)) {
    case PINS_NONE:
        printf("nothing is attached\n");
        return 1;
    case PINS_FOREIGN:
        complain("%s has pins of another version of hakmem, or of something else: `hkstat detach` removes them", dir);
        return 1;
    case PINS_CLOSED:
        complain("%s: permission denied: the pins are not for this user (hkstat attach --mode, --group)", dir);
        return 1;
    case PINS_OURS:
        break;
    }
    if (print_status(dir))
        return 0;
    complain("can't read the maps in %s: %s", dir, strerror(errno));
    return 1;
}
