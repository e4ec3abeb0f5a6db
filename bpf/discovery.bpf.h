/* discovery.bpf.h - finding the accounts of processes that run already when the loader attaches: they may rest for hours
 * before an event tells where they are. The loader maps a library's file and names it by that mapping, so that an inode is
 * compared with itself whatever a file system calls it; then every process's mappings are looked at, once.
 *
 * An inode's address is the kernel's secret: the map `libraries` is the loader's alone, and empty but for that moment. */
#ifndef HAKMEM_DISCOVERY_BPF_H
#define HAKMEM_DISCOVERY_BPF_H

#include "gathered.bpf.h"
#include "process.bpf.h"

#define VM_EXEC 4ul

struct library_key {
    uint64_t inode; /* its address in the kernel */
    uint64_t pid;   /* 0: all processes */
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, HK_TARGETS_MAX);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct library_key);
    __type(value, struct hk_wanted_library);
} libraries SEC(".maps");

static long take_inode(struct task_struct *task, struct vm_area_struct *mapping, struct library_key *key)
{
    key->inode = (uint64_t)BPF_CORE_READ(mapping, vm_file, f_inode);
    return 0;
}

/* Run by the loader, which has mapped the file at wanted->mapping. */
SEC("syscall")
int name_library(struct hk_wanted_library *wanted)
{
    struct library_key key = {.pid = wanted->pid};
    struct hk_wanted_library library = *wanted;
    bpf_find_vma(bpf_get_current_task_btf(), wanted->mapping, take_inode, &key, 0);
    return key.inode != 0 ? (int)bpf_map_update_elem(&libraries, &key, &library, BPF_ANY) : -ENOENT;
}

/* What the loader wants of this mapping's file in this process; NULL: nothing. */
static __always_inline const struct hk_wanted_library *wanted_of(struct task_struct *task,
                                                                 struct vm_area_struct *mapping)
{
    struct library_key key = {.inode = (uint64_t)BPF_CORE_READ(mapping, vm_file, f_inode)};
    const struct hk_wanted_library *wanted = bpf_map_lookup_elem(&libraries, &key);
    if (wanted)
        return wanted;
    key.pid = (uint32_t)task->tgid;
    wanted = bpf_map_lookup_elem(&libraries, &key);
    if (!wanted || wanted->tick_ns == 0)
        return NULL;
    /* The loader's pid may be another namespace's number. */
    return task->group_leader->start_boottime / wanted->tick_ns == wanted->start_time / wanted->tick_ns ? wanted : NULL;
}

/* Enter a process with its account's address. It may be at its end, or at exec, and the program that watches for that be
 * through with it: what is entered after that goes again. */
static __always_inline void enter_process(struct task_struct *task, struct mm_struct *memory, uint64_t account)
{
    struct hk_process_key key = key_of(task);
    if (is_guest(task))
        return;
    struct hk_process *process = bpf_map_lookup_elem(&processes, &key);
    if (!process && !begin_process(&key, task))
        return;
    process = hold_process(&key, 0);
    if (!process)
        return;
    if (process->account == 0)
        process->account = account;
    if (task->signal->live.counter > 0 && task->mm == memory) {
        release_process(process);
        return;
    }
    process->state = HK_PROCESS_ENDED;
    fold_process(process);
}

SEC("iter/task_vma")
int find_account(struct bpf_iter__task_vma *ctx)
{
    struct task_struct *task = ctx->task;
    struct vm_area_struct *mapping = ctx->vma;
    if (!task || !mapping || !mapping->vm_file || !(mapping->vm_flags & VM_EXEC))
        return 0;
    const struct hk_wanted_library *wanted = wanted_of(task, mapping);
    if (!wanted)
        return 0;
    uint64_t offset = mapping->vm_pgoff * wanted->page_size;
    if (wanted->site >= offset && wanted->site - offset < mapping->vm_end - mapping->vm_start)
        enter_process(task, mapping->vm_mm, mapping->vm_start - offset + wanted->account);
    return 0;
}

#endif
