/* attach.c - hkstat attach: who is to be watched, and with what. */
#include <argp.h>
#include <dirent.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "collection.h"
#include "commands.h"
#include "complain.h"
#include "discovery.h"
#include "pins.h"
#include "process.h"
#include "safe_text.h"
#include "targets.h"

#define NAMED_MAX 256u /* processes, or copies of the library, that a command line names */
#define FILES_PER_PROCESS_MAX 8u

enum key {
    KEY_ALL = 256,
    KEY_LIBRARY,
    KEY_PIN_DIR,
    KEY_MODE,
    KEY_GROUP,
    KEY_STACKS,
    KEY_PROBES,
    KEY_PERF_EVENTS,
    KEY_MAX
};

struct request {
    pid_t pids[NAMED_MAX];
    unsigned pid_count;
    const char *paths[NAMED_MAX];
    unsigned path_count;
    bool all;
    const char *pin_dir;
    struct pins_access access;
    bool access_given;
    uint64_t probes;
    struct collection_options options;
};

/* A file to attach to. */
struct aim {
    struct library library;
    pid_t pid;     /* 0: all processes */
    bool is_found; /* nobody has named it */
};

struct aims {
    struct aim *list;
    unsigned count;
    unsigned closed; /* processes that could not be looked into */
};

/* ---- finding ---- */

static bool is_known(const struct aims *aims, const struct library *library, pid_t pid)
{
    for (unsigned i = 0; i < aims->count; i++)
        if (aims->list[i].pid == pid && aims->list[i].library.device == library->device &&
            aims->list[i].library.inode == library->inode)
            return true;
    return false;
}

/* Takes the library's descriptor. */
static void add_aim(struct aims *aims, const struct library *library, pid_t pid, bool is_found)
{
    struct aim *list = aims->list;
    if (is_known(aims, library, pid)) {
        close(library->fd);
        return;
    }
    if ((aims->count & (aims->count - 1)) == 0) /* twice as many */
        list = reallocarray(list, aims->count == 0 ? 1 : aims->count * 2, sizeof *list);
    if (list == NULL) {
        complain("out of memory");
        exit(EXIT_FAILURE);
    }
    aims->list = list;
    list[aims->count++] = (struct aim){.library = *library, .pid = pid, .is_found = is_found};
}

/* Each copy is an open file. */
static void allow_many_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool aim_at_process(struct aims *aims, pid_t pid)
{
    struct library libraries[FILES_PER_PROCESS_MAX];
    char path[HK_PATH_LENGTH];
    unsigned count;
    enum process_found found = library_of_process(pid, libraries, FILES_PER_PROCESS_MAX, &count, path);
    process_explain(pid, found, path);
    bool good = found == PROCESS_OK && process_can_be_watched_alone(pid);
    for (unsigned i = 0; i < count; i++)
        if (good)
            add_aim(aims, &libraries[i], pid, false);
        else
            close(libraries[i].fd);
    return good;
}

/* Many programs map such, and hardly one is a library. */
static bool is_memory(const char *path)
{
    static const char name[] = "/memfd:";
    return strncmp(path, name, sizeof name - 1) == 0;
}

/* The files of every process that runs and may be looked into. */
static void aim_at_running(struct aims *aims)
{
    struct library libraries[FILES_PER_PROCESS_MAX];
    char path[HK_PATH_LENGTH];
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc != NULL && (entry = readdir(proc)) != NULL) {
        unsigned count;
        int pid = atoi(entry->d_name);
        if (pid <= 0)
            continue;
        enum process_found found = library_of_process(pid, libraries, FILES_PER_PROCESS_MAX, &count, path);
        if (found == PROCESS_CLOSED)
            aims->closed++;
        else if (found == PROCESS_OTHER_ABI || found == PROCESS_ELSEWHERE || found == PROCESS_SERVED ||
                 (found == PROCESS_DELETED && !is_memory(path)))
            process_explain(pid, found, path);
        for (unsigned i = 0; i < count; i++)
            add_aim(aims, &libraries[i], 0, true);
    }
    if (proc != NULL)
        closedir(proc);
}

/* The library that came with this tool: beside it in a build tree, or where it was installed. */
static void aim_at_own(struct aims *aims)
{
    static const char *const names[] = {"libhakmem.so", HAKMEM_LIBDIR "/" HAKMEM_SONAME};
    char self[PATH_MAX], path[2 * PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0)
        return;
    self[length] = '\0';
    *(strrchr(self, '/') + 1) = '\0';
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct library library;
        snprintf(path, sizeof path, "%s%s", self, names[i]);
        char *real = realpath(path, NULL);
        if (real != NULL && library_open(real, &library) == LIBRARY_OK)
            add_aim(aims, &library, 0, true);
        free(real);
    }
}

static bool aim_at_path(struct aims *aims, const char *path)
{
    struct library library;
    char *real = realpath(path, NULL);
    enum library_found found = library_open(real != NULL ? real : path, &library);
    if (found == LIBRARY_OK)
        add_aim(aims, &library, 0, false);
    else
        complain(found == LIBRARY_UNREADABLE ? "%s: %s" : "%s %s", path, library_problem(found));
    free(real);
    return found == LIBRARY_OK;
}

static bool find_aims(const struct request *request, struct aims *aims)
{
    for (unsigned i = 0; i < request->pid_count; i++)
        if (!aim_at_process(aims, request->pids[i]))
            return false;
    for (unsigned i = 0; i < request->path_count; i++)
        if (!aim_at_path(aims, request->paths[i]))
            return false;
    if (!request->all)
        return true;
    aim_at_own(aims);
    aim_at_running(aims);
    if (aims->count == 0)
        complain("no copy of hakmem's library was found: name one by --library%s",
                 aims->closed > 0 && !has_capability(CAP_SYS_PTRACE)
                     ? ", or look into other users' processes too, with CAP_SYS_PTRACE"
                     : "");
    return aims->count > 0;
}

/* ---- attaching ---- */

static bool is_fit(const struct collection *collection, const struct request *request)
{
    if (request->options.stacks && collection->summary.with_stacks == 0) {
        complain("%s keeps no stacks: `hkstat detach` first, then attach with --stacks", request->pin_dir);
        return false;
    }
    if (request->options.perf_events && collection->summary.link_kind != HK_LINK_PERF_EVENT) {
        complain("%s has links of another kind: `hkstat detach` first, then attach with --perf-events",
                 request->pin_dir);
        return false;
    }
    return true;
}

static bool begin(struct collection *collection, const struct request *request)
{
    switch (pins_look(request->pin_dir)) {
    case PINS_OURS:
        return collection_open(collection) && is_fit(collection, request);
    case PINS_NONE:
        return pins_clear(request->pin_dir) && collection_make(collection, &request->options);
    case PINS_FOREIGN:
        complain("%s has pins of another version of hakmem, or of something else: `hkstat detach` removes them",
                 request->pin_dir);
        return false;
    case PINS_CLOSED:
        complain("%s: permission denied", request->pin_dir);
        return false;
    }
    return false;
}

static void tell(const struct aim *aim, bool attached)
{
    char whom[32] = "all processes";
    if (aim->pid != 0)
        snprintf(whom, sizeof whom, "process %d", (int)aim->pid);
    char safe[SAFE_TEXT_SIZE(HK_PATH_LENGTH)];
    safe_text(safe, aim->library.path, HK_PATH_LENGTH);
    printf("%s: %s, %s\n", attached ? "attached" : "attached already", whom, safe);
}

/* Numbers of the targets that this call has added. */
struct added {
    uint32_t numbers[HK_TARGETS_MAX];
    unsigned count;
};

/* A copy that was found and can't be attached to is no reason to leave the others alone. */
static bool attach(const struct collection *collection, const struct request *request, const struct aims *aims,
                   struct added *added)
{
    uint64_t probes = request->probes;
    unsigned attached = 0;
    if ((probes & TARGETS_DEFAULT_PROBES) == TARGETS_DEFAULT_PROBES && collection->summary.with_exits != 0)
        probes |= TARGETS_PROBE(thread_exit);
    targets_prune(collection);
    for (unsigned i = 0; i < aims->count; i++) {
        uint32_t number;
        if (!targets_attach(collection, &aims->list[i].library, aims->list[i].pid, probes, &number)) {
            if (!aims->list[i].is_found)
                return false;
            continue;
        }
        if (number != 0)
            added->numbers[added->count++] = number;
        tell(&aims->list[i], number != 0);
        attached++;
        if (!discovery_want(collection, &aims->list[i].library, aims->list[i].pid))
            return false;
    }
    if (attached == 0 || !discovery_run(collection))
        return false;
    if (collection->summary.link_kind == HK_LINK_PERF_EVENT && collection->fresh && !request->options.perf_events)
        printf("by perf events: this kernel has no uprobe_multi links, which came with Linux 6.6\n");
    return true;
}

/* Everything, or nothing: what this call has pinned goes when it fails. */
static bool attach_or_undo(const struct request *request, const struct aims *aims)
{
    struct collection collection;
    struct added added = {.count = 0};
    collection_init(&collection, request->pin_dir);
    bool fresh = pins_look(request->pin_dir) == PINS_NONE;
    bool done = begin(&collection, request) && attach(&collection, request, aims, &added) &&
                (!(fresh || request->access_given) || collection_publish(&collection, &request->access));
    if (!done && fresh)
        pins_remove(request->pin_dir);
    else if (!done)
        while (added.count > 0)
            targets_remove(&collection, added.numbers[--added.count]);
    collection_close(&collection);
    return done;
}

static bool run(const struct request *request)
{
    static struct aims aims;
    allow_many_files();
    bool done = collection_is_possible() && find_aims(request, &aims);
    int lock = done ? pins_lock(request->pin_dir) : -1;
    done = lock >= 0 && attach_or_undo(request, &aims);
    if (done && aims.closed > 0 && !has_capability(CAP_SYS_PTRACE))
        printf("%u processes may not be looked into (CAP_SYS_PTRACE is missing): copies that they alone use are not "
               "attached\n",
               aims.closed);
    for (unsigned i = 0; i < aims.count; i++)
        close(aims.list[i].library.fd);
    free(aims.list);
    aims = (struct aims){.count = 0};
    if (lock >= 0)
        close(lock);
    return done;
}

/* ---- arguments ---- */

static const struct argp_option options[] = {
    {"pid", 'p', "PID", 0, "Watch this process; may be given again", 0},
    {"library", KEY_LIBRARY, "FILE", 0,
     "Watch every process, now or later, that uses this copy of the library, or is this program linked with it; may be "
     "given again",
     0},
    {"all", KEY_ALL, NULL, 0,
     "The same for the copy that came with this tool, and for each that a process uses at this moment", 0},
    {"pin-dir", KEY_PIN_DIR, "DIR", 0, "Pin maps and links here, on a BPF file system; default " HK_PIN_DIR, 0},
    {"mode", KEY_MODE, "MODE", 0, "Permissions of the maps, octal; default 644: everybody may read", 0},
    {"group", KEY_GROUP, "GROUP", 0, "The maps belong to this group, and only it may read them unless --mode says else",
     0},
    {"stacks", KEY_STACKS, NULL, 0, "Keep the stacks of callers whose allocations fail", 0},
    {"probes", KEY_PROBES, "LIST", 0,
     "Probes to attach, comma-separated; `default`: all but those that fire with each miss, drain and slab; `all`; "
     "`guard_alloc` "
     "switches guard pages on",
     0},
    {"perf-events", KEY_PERF_EVENTS, NULL, 0, "Link by perf events, as on kernels before 6.6; needs CAP_SYS_ADMIN", 0},
    {"max-processes", KEY_MAX, "N", 0, "Room for so many processes at once; default 8192", 0},
    {0},
};

/* A number in `base` up to `most`, at least 1; else a usage error. */
static unsigned long parse_number(const char *text, int base, unsigned long most, const char *what,
                                  struct argp_state *state)
{
    char *end;
    unsigned long number = strtoul(text, &end, base);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || number == 0 || number > most)
        argp_error(state, "%s is no %s", text, what);
    return number;
}

static uint64_t parse_probes(const char *text, struct argp_state *state)
{
    uint64_t probes = 0;
    for (const char *word = text; *word != '\0';) {
        size_t length = strcspn(word, ",");
        uint64_t found = 0;
        for (unsigned i = 0; i < HK_PROBE_COUNT; i++)
            if (strlen(probe_names[i]) == length && strncmp(probe_names[i], word, length) == 0)
                found = UINT64_C(1) << i;
        if (length == 7 && strncmp(word, "default", length) == 0)
            found = TARGETS_DEFAULT_PROBES;
        if (length == 3 && strncmp(word, "all", length) == 0)
            found = TARGETS_ALL_PROBES;
        if (found == 0)
            argp_error(state, "there is no probe '%.*s'", (int)length, word);
        probes |= found;
        word += length + (word[length] == ',');
    }
    return probes;
}

static void parse_group(const char *name, struct request *request, struct argp_state *state)
{
    const struct group *group = getgrnam(name);
    if (group == NULL)
        argp_error(state, "there is no group '%s'", name);
    else
        request->access.group = group->gr_gid;
    request->access_given = true;
}

static void check_request(struct request *request, struct argp_state *state)
{
    if (request->pid_count == 0 && request->path_count == 0 && !request->all)
        argp_error(state, "say whom to watch: --pid, --library or --all");
    if (request->probes == 0)
        argp_error(state, "no probe is named");
    if (request->access.mode == 0)
        request->access.mode = request->access.group == (gid_t)-1 ? 0644 : 0640;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct request *request = state->input;
    switch (key) {
    case 'p':
        if (request->pid_count == NAMED_MAX)
            argp_error(state, "more than %u processes", NAMED_MAX);
        request->pids[request->pid_count++] = (pid_t)parse_number(arg, 10, INT_MAX, "process", state);
        return 0;
    case KEY_ALL:
        request->all = true;
        return 0;
    case KEY_LIBRARY:
        if (request->path_count == NAMED_MAX)
            argp_error(state, "more than %u libraries", NAMED_MAX);
        request->paths[request->path_count++] = arg;
        return 0;
    case KEY_PIN_DIR:
        request->pin_dir = arg;
        return 0;
    case KEY_MODE:
        request->access.mode = (mode_t)parse_number(arg, 8, 0777, "mode", state);
        request->access_given = true;
        return 0;
    case KEY_GROUP:
        parse_group(arg, request, state);
        return 0;
    case KEY_STACKS:
        request->options.stacks = true;
        return 0;
    case KEY_PROBES:
        request->probes = parse_probes(arg, state);
        return 0;
    case KEY_PERF_EVENTS:
        request->options.perf_events = true;
        return 0;
    case KEY_MAX:
        request->options.max_processes = (unsigned)parse_number(arg, 10, 1 << 20, "number of processes", state);
        return 0;
    case ARGP_KEY_END:
        check_request(request, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int hkstat_attach(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc = "Watch processes that use hakmem: attach programs to its probes, pin them with the maps that they fill, "
               "and exit. The processes go on as they are. `hkstat detach` ends it.\v"
               "Needs CAP_BPF and CAP_PERFMON; CAP_SYS_PTRACE for processes of other users or mount namespaces, "
               "CAP_CHECKPOINT_RESTORE for a library that was deleted or replaced since it was loaded, with "
               "CAP_DAC_READ_SEARCH if the process is another user's.",
    };
    static struct request request;
    request = (struct request){
        .pin_dir = HK_PIN_DIR,
        .access.group = (gid_t)-1,
        .probes = TARGETS_DEFAULT_PROBES,
    };
    complain_as("hkstat attach");
    argp_parse(&argp, argc, argv, 0, NULL, &request);
    return run(&request) ? 0 : 1;
}
