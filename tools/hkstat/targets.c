#include "targets.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "complain.h"
#include "links.h"
#include "process.h"

const char *const probe_names[HK_PROBE_COUNT] = {
#define HK_PROBE(name, n, args, text) #name,
#include "probes/hakmem_probes.def"
#undef HK_PROBE
};

bool target_is_alive(const struct hk_target *target)
{
    uint64_t start_time;
    return target->pid == 0 ||
           (process_start_time((pid_t)target->pid, &start_time) && start_time == target->start_time);
}

bool targets_remove(const struct collection *collection, uint32_t number)
{
    char name[16];
    snprintf(name, sizeof name, "%u", number);
    return pins_remove_links(collection->dir, name) && bpf_map_delete_elem(collection->targets, &number) == 0;
}

/* Calls visit for each target; it may remove the one that it is given. */
static void for_each_target(const struct collection *collection, void *arg,
                            void (*visit)(void *arg, uint32_t number, const struct hk_target *target))
{
    struct hk_target target;
    uint32_t numbers[HK_TARGETS_MAX], count = 0, *previous = NULL;
    while (count < HK_TARGETS_MAX && bpf_map_get_next_key(collection->targets, previous, &numbers[count]) == 0)
        previous = &numbers[count++];
    for (uint32_t i = 0; i < count; i++)
        if (bpf_map_lookup_elem(collection->targets, &numbers[i], &target) == 0)
            visit(arg, numbers[i], &target);
}

static void prune(void *arg, uint32_t number, const struct hk_target *target)
{
    if (!target_is_alive(target))
        targets_remove(arg, number);
}

void targets_prune(const struct collection *collection)
{
    for_each_target(collection, (void *)collection, prune);
}

struct wanted {
    const struct collection *collection;
    struct hk_target target;
    uint32_t number; /* above all that are taken */
};

static bool is_same_file(const struct hk_target *a, const struct hk_target *b)
{
    return a->device == b->device && a->inode == b->inode;
}

/* Single processes' probes go over to the target that covers them all: never are two links to count the same event. */
static void take_over(void *arg, uint32_t number, const struct hk_target *other)
{
    struct wanted *wanted = arg;
    if (wanted->target.pid != 0 || other->pid == 0 || !is_same_file(&wanted->target, other))
        return;
    wanted->target.probes |= other->probes;
    targets_remove(wanted->collection, number);
}

static void leave_out(void *arg, uint32_t number, const struct hk_target *other)
{
    struct wanted *wanted = arg;
    if (number >= wanted->number)
        wanted->number = number + 1;
    if (is_same_file(&wanted->target, other) && (other->pid == 0 || other->pid == wanted->target.pid))
        wanted->target.probes &= ~other->probes;
}

static bool link_probe(const struct wanted *wanted, const struct library *library, enum hk_probe_idx probe,
                       const char *folder)
{
    char path[PINS_PATH_MAX];
    const struct collection *collection = wanted->collection;
    int link = links_attach((enum hk_link_kind)collection->summary.link_kind, collection->programs[probe], library,
                            &library->probes[probe], (pid_t)wanted->target.pid);
    if (link < 0 && errno == ESRCH)
        complain("no process %llu any more", (unsigned long long)wanted->target.pid);
    else if (link < 0)
        complain("can't attach to probe %s of %s: %s", probe_names[probe], library->path, strerror(errno));
    if (link < 0)
        return false;
    bool pinned = pins_path(path, collection->dir, "%s/%s", folder, probe_names[probe]) && bpf_obj_pin(link, path) == 0;
    if (!pinned)
        complain("can't pin %s below %s: %s", probe_names[probe], collection->dir, strerror(errno));
    close(link);
    return pinned;
}

static bool link_target(struct wanted *wanted, const struct library *library)
{
    char folder[32], number[16];
    snprintf(number, sizeof number, "%u", wanted->number);
    snprintf(folder, sizeof folder, "links/%s", number);
    bool linked = pins_remove_links(wanted->collection->dir, number) &&
                  pins_make_folder(wanted->collection->dir, folder);
    for (unsigned probe = 0; linked && probe < HK_PROBE_COUNT; probe++)
        if ((wanted->target.probes >> probe & 1) != 0)
            linked = link_probe(wanted, library, (enum hk_probe_idx)probe, folder);
    if (linked && bpf_map_update_elem(wanted->collection->targets, &wanted->number, &wanted->target, BPF_ANY) != 0) {
        complain("there is no room for more than %u targets", HK_TARGETS_MAX);
        linked = false;
    }
    if (!linked)
        pins_remove_links(wanted->collection->dir, number);
    return linked;
}

bool targets_attach(const struct collection *collection, const struct library *library, pid_t pid, uint64_t probes,
                    uint32_t *number)
{
    struct wanted wanted = {
        .collection = collection,
        .target = {.pid = (uint64_t)pid, .device = library->device, .inode = library->inode, .probes = probes},
        .number = 1,
    };
    for (unsigned probe = 0; probe < HK_PROBE_COUNT; probe++)
        if (library->probes[probe].site == 0) /* of an earlier list */
            wanted.target.probes &= ~(UINT64_C(1) << probe);
    snprintf(wanted.target.path, sizeof wanted.target.path, "%s", library->path);
    if (pid != 0 && !process_start_time(pid, &wanted.target.start_time)) {
        complain("no process %d any more", (int)pid);
        return false;
    }
    for_each_target(collection, &wanted, take_over);
    for_each_target(collection, &wanted, leave_out);
    *number = wanted.target.probes != 0 ? wanted.number : 0;
    return *number == 0 || link_target(&wanted, library);
}
