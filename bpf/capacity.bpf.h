/* capacity.bpf.h - what a process holds now: told by events, and copied from the process beside its accounts. */
#ifndef HAKMEM_CAPACITY_BPF_H
#define HAKMEM_CAPACITY_BPF_H

#include "gathered.bpf.h"
#include "process.bpf.h"

/* Where the accounts of a process are. */
struct account_source {
    struct hk_process_key process;
    uint64_t address; /* of struct hk_process_account: class 0's */
    uint64_t generation;
    struct task_struct *task; /* NULL: the current one, without faulting pages in */
};

#define FIND_TRIES 64 /* while the process changes its mappings, and holds their lock */

struct range {
    struct task_struct *task;
    uint64_t from, to;
    bool is_memory;
};

static long look_at_mapping(struct task_struct *task, struct vm_area_struct *mapping, struct range *range)
{
    range->is_memory = !mapping->vm_file && range->from >= mapping->vm_start && range->to <= mapping->vm_end;
    return 0;
}

static long find_mapping(uint32_t tries, struct range *range)
{
    return bpf_find_vma(range->task, range->from, look_at_mapping, range, 0) != -EBUSY;
}

/* Whether a process's memory can be read without end: of a file the process may be the one who is to answer, and then the
 * reader waits for it. A userfaultfd holds up no other process. */
static __always_inline bool is_memory(struct task_struct *task, uint64_t address, uint32_t bytes)
{
    struct range range = {.task = task, .from = address, .to = address + bytes};
    bpf_loop(FIND_TRIES, find_mapping, &range, 0);
    return range.is_memory;
}

/* remote: of source->task, in a sleepable program. */
static __always_inline long read_user(const struct account_source *source, void *to, uint32_t bytes, uint64_t address,
                                      bool remote)
{
    if (remote && !is_memory(source->task, address, bytes))
        return -EFAULT;
    if (remote)
        return bpf_copy_from_user_task(to, bytes, (void *)address, source->task, 0);
    return bpf_probe_read_user(to, bytes, (void *)address);
}

static __always_inline void set_superslabs(struct hk_process *process, uint64_t superslabs)
{
    process->superslabs = superslabs;
    process->known |= HK_KNOWN_SUPERSLABS;
    raise_to(&process->superslabs_peak, superslabs);
}

static __always_inline void set_mapped(struct hk_process *process, uint64_t bytes)
{
    process->mapped_bytes = bytes;
    process->known |= HK_KNOWN_MAPPED_BYTES;
    raise_to(&process->mapped_bytes_peak, bytes);
}

static __always_inline void set_legacy_chunks(struct hk_process *process, uint64_t chunks)
{
    process->legacy_chunks = chunks;
    process->known |= HK_KNOWN_LEGACY_CHUNKS;
}

static __always_inline void set_threads(struct hk_process *process, uint64_t threads)
{
    process->threads = threads;
    process->known |= HK_KNOWN_THREADS;
    raise_to(&process->threads_peak, threads);
}

static __always_inline void set_purged(struct hk_process *process, uint64_t bytes)
{
    process->known |= HK_KNOWN_PURGED_BYTES;
    raise_to(&process->purged_bytes, bytes);
}

/* Copy the capacity of a process whose accounts were found sound. process: its entry, NULL if remote: it may be on its way out
 * then, and is held while it is written. A function of its own, since the stack that its caller's other calls need is deep. */
static __noinline int copy_capacity(const struct account_source *source, struct hk_process *process, bool remote)
{
    struct {
        struct hk_capacity capacity;
        const struct os_account *os;
    } held = {0};
    struct os_account os = {0};
    _Static_assert(offsetof(struct hk_process_account, os) ==
                       offsetof(struct hk_process_account, capacity) + sizeof(struct hk_capacity),
                   "what is read at once lies side by side");
    uint64_t address = source->address + offsetof(struct hk_process_account, capacity);
    if (read_user(source, &held, sizeof held, address, remote) ||
        read_user(source, &os, sizeof os, (uint64_t)held.os, remote))
        return 0;
    if (remote && !(process = hold_process(&source->process, source->generation)))
        return 0;
    if (!process)
        return 0;
    set_superslabs(process, held.capacity.superslabs);
    raise_to(&process->superslabs_peak, held.capacity.superslabs_peak);
    set_legacy_chunks(process, held.capacity.legacy_chunks);
    set_threads(process, held.capacity.threads);
    set_mapped(process, os.mapped);
    raise_to(&process->mapped_bytes_peak, os.mapped_peak);
    set_purged(process, os.purged);
    if (remote)
        release_process(process);
    return 0;
}

#endif
