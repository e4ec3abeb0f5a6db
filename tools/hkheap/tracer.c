#include "tracer.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "armed.h"
#include "collection.h"
#include "complain.h"
#include "heap.skel.h"
#include "links.h"
#include "memory.h"
#include "process.h"
#include "safe_text.h"
#include "unwind.h"

#define LIBRARIES_MOST 8u
#define ARMED_SECONDS 1.0 /* between two counts of armed caches */

struct tracer {
    pid_t pid;
    uint64_t start_time;
    uint64_t stack_start; /* of the main thread: another after exec, of the same program too */
    struct stat executable;
    struct heap *programs;
    struct ring_buffer *ring;
    struct unwinder *unwinder;
    int links[2 * LIBRARIES_MOST];
    unsigned link_count;
    double began, ended;     /* since the epoch; 0: not yet */
    uint64_t last_time;      /* what happened later, in ns since boot, is left out: the links end one after the other */
    struct profile *profile; /* while events are taken */
    double look_at;          /* when the armed caches are counted next */
    double until;            /* when taking them ends, however many more there are */
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* ---- events ---- */

static int take_event(void *arg, void *data, size_t size)
{
    struct tracer *tracer = arg;
    const struct hk_heap_free *head = data;
    if (size < sizeof *head || head->time > tracer->last_time)
        return 0;
    if (head->kind == HK_HEAP_FREE)
        profile_free_block(tracer->profile, head->address, head->time);
    const struct hk_heap_alloc *sample = data;
    struct frame frames[PROFILE_DEPTH];
    bool whole;
    if (head->kind != HK_HEAP_ALLOC || size < sizeof *sample)
        return 0;
    unsigned depth = unwind(tracer->unwinder, sample, frames, PROFILE_DEPTH, &whole);
    tracer->profile->unwound_short += !whole;
    profile_alloc(tracer->profile, profile_site(tracer->profile, frames, depth), head->address, sample->size,
                  sample->weight, head->time);
    return now() < tracer->until ? 0 : -ETIME; /* this one is taken */
}

static bool went_well(int result)
{
    if (result >= 0 || result == -EINTR || result == -ETIME)
        return true;
    complain("can't read what the process tells: %s", strerror(-result));
    return false;
}

/* While it is attached: afterwards none is armed. */
static void look_at_caches(struct tracer *tracer, struct profile *profile)
{
    uint64_t armed, caches;
    tracer->look_at = now() + ARMED_SECONDS;
    if (!armed_count(tracer->pid, &armed, &caches))
        return;
    profile->knows_armed = true;
    profile->armed = armed;
    profile->caches = caches;
}

bool tracer_poll(struct tracer *tracer, struct profile *profile, int ms)
{
    tracer->profile = profile;
    tracer->until = now() + ms / 1000.0;
    if (now() >= tracer->look_at)
        look_at_caches(tracer, profile);
    struct timespec rest = {.tv_nsec = (long)ms * 1000000};
    int taken = ring_buffer__consume(tracer->ring);
    if (taken >= 0) /* all that there is; a wake-up for each would cost the process more than the sample */
        nanosleep(&rest, NULL);
    return went_well(taken);
}

static void detach(struct tracer *tracer)
{
    struct timespec boot;
    if (tracer->link_count > 0) {
        clock_gettime(CLOCK_BOOTTIME, &boot);
        tracer->last_time = (uint64_t)boot.tv_sec * 1000000000u + (uint64_t)boot.tv_nsec;
        tracer->ended = now();
    }
    while (tracer->link_count > 0)
        close(tracer->links[--tracer->link_count]);
}

bool tracer_finish(struct tracer *tracer, struct profile *profile)
{
    look_at_caches(tracer, profile);
    detach(tracer);
    tracer->profile = profile;
    tracer->until = INFINITY;
    return went_well(ring_buffer__consume(tracer->ring));
}

/* ---- beginning ---- */

static int keep_quiet(enum libbpf_print_level level, const char *format, va_list args)
{
    (void)level, (void)format, (void)args;
    return 0;
}

/* Where the process's number is one of a namespace, BPF programs see another. */
static bool in_initial_namespace(void)
{
    static const ino_t initial = 0xeffffffc; /* PROC_PID_INIT_INO of linux/proc_ns.h */
    struct stat namespace;
    return stat("/proc/self/ns/pid", &namespace) == 0 && namespace.st_ino == initial;
}

static bool load(struct tracer *tracer)
{
    bool multi = links_have_multi();
    int error = 0;
    libbpf_set_print(keep_quiet);
    tracer->programs = heap__open();
    if (tracer->programs != NULL) {
        tracer->programs->rodata->target = in_initial_namespace() ? (uint32_t)tracer->pid : 0;
        if (multi) {
            bpf_program__set_expected_attach_type(tracer->programs->progs.heap_alloc,
                                                  (enum bpf_attach_type)LINKS_UPROBE_MULTI);
            bpf_program__set_expected_attach_type(tracer->programs->progs.heap_free,
                                                  (enum bpf_attach_type)LINKS_UPROBE_MULTI);
        }
        error = heap__load(tracer->programs);
    }
    if (tracer->programs == NULL || error != 0) {
        complain("the BPF programs can't be loaded: %s", strerror(error != 0 ? -error : errno));
        return false;
    }
    tracer->ring = ring_buffer__new(bpf_map__fd(tracer->programs->maps.heap_events), take_event, tracer, NULL);
    if (tracer->ring == NULL)
        complain("can't read from the programs: %s", strerror(errno));
    return tracer->ring != NULL;
}

/* free first: no block is sampled whose free would not be seen. */
static bool attach(struct tracer *tracer, const struct library *library)
{
    enum hk_link_kind kind = links_have_multi() ? HK_LINK_UPROBE_MULTI : HK_LINK_PERF_EVENT;
    const int programs[HK_SAMPLE_PROBE_COUNT] = {bpf_program__fd(tracer->programs->progs.heap_alloc),
                                                 bpf_program__fd(tracer->programs->progs.heap_free)};
    for (unsigned probe = HK_SAMPLE_PROBE_COUNT; probe-- > 0;) {
        const struct probe_site *site = &library->sample_probes[probe];
        if (site->site == 0) {
            complain("process %d: %s does not sample: it is older than this hkheap", (int)tracer->pid, library->path);
            return false;
        }
        int link = links_attach(kind, programs[probe], library, site, tracer->pid);
        if (link < 0) {
            complain("can't attach to process %d: %s", (int)tracer->pid, strerror(errno));
            return false;
        }
        tracer->links[tracer->link_count++] = link;
    }
    return true;
}

/* Load and attach, once it is known that there is what to attach to. */
static bool begin(struct tracer *tracer)
{
    struct library libraries[LIBRARIES_MOST];
    char path[HK_PATH_LENGTH];
    unsigned count;
    enum process_found found = library_of_process(tracer->pid, libraries, LIBRARIES_MOST, &count, path);
    process_explain(tracer->pid, found, path);
    bool attached = found == PROCESS_OK && process_can_be_watched_alone(tracer->pid) &&
                    (tracer->unwinder = unwinder_new(tracer->pid)) != NULL && load(tracer);
    for (unsigned i = 0; i < count; i++) {
        attached = attached && attach(tracer, &libraries[i]);
        close(libraries[i].fd);
    }
    return attached;
}

static bool look_at_executable(pid_t pid, struct stat *executable)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    return stat(path, executable) == 0;
}

struct tracer *tracer_new(pid_t pid)
{
    struct tracer *tracer = grow(NULL, 1, sizeof *tracer);
    *tracer = (struct tracer){.pid = pid, .began = now(), .last_time = UINT64_MAX};
    if (!process_start_time(pid, &tracer->start_time)) {
        complain("no process %d", (int)pid);
        free(tracer);
        return NULL;
    }
    look_at_executable(pid, &tracer->executable);
    tracer->stack_start = process_stack_start(pid);
    if (collection_is_possible() && begin(tracer))
        return tracer;
    tracer_free(tracer);
    return NULL;
}

void tracer_free(struct tracer *tracer)
{
    detach(tracer);
    if (tracer->ring != NULL)
        ring_buffer__free(tracer->ring);
    if (tracer->programs != NULL)
        heap__destroy(tracer->programs);
    if (tracer->unwinder != NULL)
        unwinder_free(tracer->unwinder);
    free(tracer);
}

/* ---- the head ---- */

bool tracer_lives(const struct tracer *tracer)
{
    uint64_t start_time;
    struct stat executable;
    return process_start_time(tracer->pid, &start_time) && start_time == tracer->start_time &&
           process_stack_start(tracer->pid) == tracer->stack_start && look_at_executable(tracer->pid, &executable) &&
           executable.st_ino == tracer->executable.st_ino && executable.st_dev == tracer->executable.st_dev;
}

static void read_name(char *safe, size_t size, pid_t pid)
{
    char path[64], comm[HK_COMM_LENGTH + 1] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fgets(comm, sizeof comm, file) != NULL && size >= SAFE_TEXT_SIZE(HK_COMM_LENGTH)) {
        comm[strcspn(comm, "\n")] = '\0';
        safe_text(safe, comm, HK_COMM_LENGTH);
    }
    fclose(file);
}

static uint64_t lost(const struct tracer *tracer, uint32_t kind)
{
    uint64_t count = 0;
    bpf_map_lookup_elem(bpf_map__fd(tracer->programs->maps.heap_lost), &kind, &count);
    return count;
}

void tracer_tell(struct tracer *tracer, struct profile *profile)
{
    profile->pid = (uint64_t)tracer->pid;
    read_name(profile->command, sizeof profile->command, tracer->pid);
    profile->time = tracer->ended != 0 ? tracer->ended : now();
    profile->seconds = profile->time - tracer->began;
    profile->lost_allocs = lost(tracer, HK_HEAP_LOST_ALLOCS);
    profile->lost_frees = lost(tracer, HK_HEAP_LOST_FREES);
    profile->thinned = lost(tracer, HK_HEAP_LOST_THINNED);
    const char *why = !tracer_lives(tracer)       ? "the process ended, or called exec"
                      : profile->lost_frees != 0  ? "frees were lost: blocks that seem to live may not"
                      : profile->lost_allocs != 0 ? "samples were lost"
                                                  : NULL;
    profile->why_partial = why;
    profile->partial = why != NULL;
}
