#include "collection.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "complain.h"
#include "hakmem.skel.h"
#include "links.h"
#include "targets.h"

#define ACCOUNTS_PER_PROCESS 16u /* on an average; a process has up to HK_ACCOUNT_CLASSES */

#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#endif
#ifndef CAP_BPF
#define CAP_BPF 39
#endif

/* ---- rights ---- */

/* CAP_SYS_ADMIN stands for all of them. */
static bool has_all(const struct capability *needed, const char *hint)
{
    const char *missing = has_capability(CAP_SYS_ADMIN) ? NULL : missing_capability(needed);
    if (missing != NULL)
        complain("attaching needs %s, which this process does not have%s", missing, hint);
    return missing == NULL;
}

static bool may_link(enum hk_link_kind kind)
{
    static const struct capability needed[] = {{CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, {0, NULL}};
    return kind != HK_LINK_PERF_EVENT ||
           has_all(
               needed,
               ": it links by perf events (uprobe_multi links, since Linux 6.6, need CAP_BPF and CAP_PERFMON alone)");
}

static bool kernel_can(void)
{
    uint32_t id;
    if (bpf_prog_get_next_id(0, &id) != 0 && errno == ENOSYS) {
        complain("this kernel has no bpf(2): nothing can be attached (CONFIG_BPF_SYSCALL)");
        return false;
    }
    if (access("/sys/kernel/btf/vmlinux", R_OK) != 0) {
        complain("this kernel gives no BTF, /sys/kernel/btf/vmlinux: the programs can't be fitted to it "
                 "(CONFIG_DEBUG_INFO_BTF)");
        return false;
    }
    return true;
}

bool collection_is_possible(void)
{
    static const struct capability needed[] = {{CAP_BPF, "CAP_BPF"}, {CAP_PERFMON, "CAP_PERFMON"}, {0, NULL}};
    return kernel_can() && has_all(needed, "");
}

/* ---- loading ---- */

static char load_log[256]; /* the last that libbpf had to say */

static int keep_log(enum libbpf_print_level level, const char *format, va_list args)
{
    if (level == LIBBPF_WARN)
        vsnprintf(load_log, sizeof load_log, format, args);
    load_log[strcspn(load_log, "\n")] = '\0';
    return 0;
}

/* The number of arguments of a tracepoint; -1: the kernel does not have it. */
static int tracepoint_args(const struct btf *btf, const char *name)
{
    char type_name[128];
    snprintf(type_name, sizeof type_name, "btf_trace_%s", name);
    int id = btf__find_by_name_kind(btf, type_name, BTF_KIND_TYPEDEF);
    /* A typedef of a pointer to a function, whose first parameter is the program's own. */
    const struct btf_type *type = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;
    for (int step = 0; type != NULL && step < 2; step++)
        type = btf__type_by_id(btf, type->type);
    return type != NULL && btf_is_func_proto(type) ? btf_vlen(type) - 1 : -1;
}

/* What not every kernel has. */
static void fit_to_kernel(struct hakmem *skeleton)
{
    struct btf *btf = btf__load_vmlinux_btf();
    if (btf == NULL)
        return;
    bpf_program__set_autoload(skeleton->progs.process_before_exec, tracepoint_args(btf, "sched_prepare_exec") >= 0);
    /* Linux 5.18: programs that read another process's memory. */
    bpf_program__set_autoload(skeleton->progs.refresh,
                              btf__find_by_name_kind(btf, "bpf_copy_from_user_task", BTF_KIND_FUNC) > 0);
    /* The change that made it come before the memory goes gave it a second argument. */
    skeleton->rodata->memory_outlives_process = tracepoint_args(btf, "sched_process_exit") > 1;
    btf__free(btf);
}

static void configure(struct hakmem *skeleton, const struct collection_options *options, bool multi)
{
    for (unsigned i = 0; i < HK_PROBE_COUNT; i++) {
        struct bpf_program *program = bpf_object__find_program_by_name(skeleton->obj, probe_names[i]);
        bpf_program__set_expected_attach_type(program, multi ? (enum bpf_attach_type)LINKS_UPROBE_MULTI : 0);
    }
    fit_to_kernel(skeleton);
    skeleton->rodata->with_stacks = options->stacks;
    if (!options->stacks)
        bpf_map__set_max_entries(skeleton->maps.stacks, 1);
    if (options->max_processes != 0) {
        bpf_map__set_max_entries(skeleton->maps.processes, options->max_processes);
        bpf_map__set_max_entries(skeleton->maps.accounts, options->max_processes * ACCOUNTS_PER_PROCESS);
        bpf_map__set_max_entries(skeleton->maps.caps, options->max_processes * ACCOUNTS_PER_PROCESS);
    }
}

static struct hakmem *load(const struct collection_options *options, bool multi)
{
    struct hakmem *skeleton = hakmem__open();
    int error = skeleton != NULL ? 0 : -errno;
    if (error == 0) {
        configure(skeleton, options, multi);
        error = hakmem__load(skeleton);
    }
    if (error == 0)
        return skeleton;
    hakmem__destroy(skeleton);
    if (error == -EPERM)
        complain(
            "the kernel does not permit loading BPF programs: in a container or user namespace CAP_BPF and CAP_PERFMON "
            "count only if they are the host's");
    else
        complain("the BPF programs can't be loaded: %s; Linux 5.17 or later is needed. %s", strerror(-error), load_log);
    return NULL;
}

/* ---- pinning ---- */

static bool pin(int fd, const char *dir, const char *folder, const char *name)
{
    char path[PINS_PATH_MAX];
    if (fd >= 0 && pins_path(path, dir, "%s%s", folder, name) && bpf_obj_pin(fd, path) == 0)
        return true;
    complain("can't pin %s below %s: %s", name, dir, strerror(errno));
    return false;
}

static bool pin_link(struct bpf_link *link, const char *dir, const char *folder, const char *name)
{
    bool pinned = pin(link != NULL ? bpf_link__fd(link) : -1, dir, folder, name);
    bpf_link__destroy(link);
    return pinned;
}

static bool pin_maps(const struct collection *collection, bool stacks)
{
    struct hakmem *skeleton = collection->skeleton;
    struct bpf_map *map;
    bpf_object__for_each_map(map, skeleton->obj)
    {
        if (bpf_map__is_internal(map) || map == skeleton->maps.summary || map == skeleton->maps.libraries ||
            (map == skeleton->maps.stacks && !stacks))
            continue;
        if (!pin(bpf_map__fd(map), collection->dir, "maps/", bpf_map__name(map)))
            return false;
    }
    return true;
}

/* What watches processes come and go, and what readers refresh by. */
static bool pin_kernel_links(const struct collection *collection)
{
    struct hakmem *skeleton = collection->skeleton;
    struct bpf_program *const programs[] = {skeleton->progs.process_exit, skeleton->progs.process_exec,
                                            skeleton->progs.process_before_exec};
    for (unsigned i = 0; i < sizeof programs / sizeof programs[0]; i++)
        if (bpf_program__autoload(programs[i]) && !pin_link(bpf_program__attach(programs[i]), collection->dir,
                                                            "links/kernel/", bpf_program__name(programs[i])))
            return false;
    return !bpf_program__autoload(skeleton->progs.refresh) ||
           pin_link(bpf_program__attach_iter(skeleton->progs.refresh, NULL), collection->dir, "", "refresh");
}

static bool pin_programs(const struct collection *collection)
{
    for (unsigned i = 0; i < HK_PROBE_COUNT; i++)
        if (!pin(collection->programs[i], collection->dir, "programs/", probe_names[i]))
            return false;
    return true;
}

/* What the next attach needs, and its readers must not see. */
static bool pin_discovery(const struct collection *collection)
{
    return pins_make_folder(collection->dir, "loader") &&
           pin(collection->find_account, collection->dir, "loader/", "find_account") &&
           pin(collection->name_library, collection->dir, "loader/", "name_library") &&
           pin(collection->libraries, collection->dir, "loader/", "libraries");
}

static uint64_t boot_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* What is in the maps before the first event: the summary's head, and where processes go for whose executable there is no
 * room. */
static bool prepare_maps(const struct collection *collection)
{
    struct hk_executable others = {.inode = 0};
    struct hk_ended nothing;
    uint32_t key = 0;
    memset(&nothing, 0, sizeof nothing);
    if (bpf_map_update_elem(bpf_map__fd(collection->skeleton->maps.summary), &key, &collection->summary, BPF_ANY) ==
            0 &&
        bpf_map_update_elem(bpf_map__fd(collection->skeleton->maps.ended), &others, &nothing, BPF_ANY) == 0)
        return true;
    complain("can't write to the maps: %s", strerror(errno));
    return false;
}

void collection_init(struct collection *collection, const char *dir)
{
    memset(collection, 0, sizeof *collection);
    collection->dir = dir;
    collection->targets = collection->find_account = collection->name_library = collection->libraries = -1;
    for (unsigned i = 0; i < HK_PROBE_COUNT; i++)
        collection->programs[i] = -1;
    libbpf_set_print(keep_log);
}

bool collection_make(struct collection *collection, const struct collection_options *options)
{
    collection->fresh = true;
    bool multi = !options->perf_events && links_have_multi();
    collection->summary.link_kind = multi ? HK_LINK_UPROBE_MULTI : HK_LINK_PERF_EVENT;
    collection->summary.version = HK_MAPS_VERSION;
    collection->summary.attached_at = boot_time();
    collection->summary.with_stacks = options->stacks;
    if (!may_link((enum hk_link_kind)collection->summary.link_kind))
        return false;
    collection->skeleton = load(options, multi);
    if (collection->skeleton == NULL)
        return false;
    collection->summary.with_exits = !collection->skeleton->rodata->memory_outlives_process;
    for (unsigned i = 0; i < HK_PROBE_COUNT; i++)
        collection->programs[i] =
            bpf_program__fd(bpf_object__find_program_by_name(collection->skeleton->obj, probe_names[i]));
    collection->targets = bpf_map__fd(collection->skeleton->maps.targets);
    collection->find_account = bpf_program__fd(collection->skeleton->progs.find_account);
    collection->name_library = bpf_program__fd(collection->skeleton->progs.name_library);
    collection->libraries = bpf_map__fd(collection->skeleton->maps.libraries);
    return pins_make_folder(collection->dir, "maps") && pins_make_folder(collection->dir, "programs") &&
           pins_make_folder(collection->dir, "links") && pins_make_folder(collection->dir, "links/kernel") &&
           prepare_maps(collection) && pin_maps(collection, options->stacks) && pin_programs(collection) &&
           pin_discovery(collection) && pin_kernel_links(collection);
}

static int open_pin(const char *dir, const char *folder, const char *name)
{
    char path[PINS_PATH_MAX];
    int fd = pins_path(path, dir, "%s/%s", folder, name) ? bpf_obj_get(path) : -1;
    if (fd < 0)
        complain("can't open %s/%s/%s: %s", dir, folder, name, strerror(errno));
    return fd;
}

bool collection_open(struct collection *collection)
{
    const char *dir = collection->dir;
    if (!pins_read_summary(dir, &collection->summary)) {
        complain("can't read %s/maps/summary: %s", dir, strerror(errno));
        return false;
    }
    if (!may_link((enum hk_link_kind)collection->summary.link_kind))
        return false;
    for (unsigned i = 0; i < HK_PROBE_COUNT; i++)
        if ((collection->programs[i] = open_pin(dir, "programs", probe_names[i])) < 0)
            return false;
    return (collection->targets = open_pin(dir, "maps", "targets")) >= 0 &&
           (collection->find_account = open_pin(dir, "loader", "find_account")) >= 0 &&
           (collection->name_library = open_pin(dir, "loader", "name_library")) >= 0 &&
           (collection->libraries = open_pin(dir, "loader", "libraries")) >= 0;
}

bool collection_publish(struct collection *collection, const struct pins_access *access)
{
    if (collection->fresh && !pin(bpf_map__fd(collection->skeleton->maps.summary), collection->dir, "maps/", "summary"))
        return false;
    return pins_allow(collection->dir, access);
}

void collection_close(struct collection *collection)
{
    if (collection->skeleton != NULL) {
        hakmem__destroy(collection->skeleton);
        return;
    }
    for (unsigned i = 0; i < HK_PROBE_COUNT; i++)
        if (collection->programs[i] >= 0)
            close(collection->programs[i]);
    const int others[] = {collection->targets, collection->find_account, collection->name_library,
                          collection->libraries};
    for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
        if (others[i] >= 0)
            close(others[i]);
}
