/* process.bpf.h - a process's entry: how it begins, and how it ends.
 *
 * An entry ends when its process has ended or calls exec: no thread of the process fires a probe by then, but a reader of
 * `refresh` may be at the entry. One that is found REFRESHED is left to that reader to fold. Whoever holds an entry REFRESHED
 * knows it stays. */
#ifndef HAKMEM_PROCESS_BPF_H
#define HAKMEM_PROCESS_BPF_H

#include "gathered.bpf.h"

static __always_inline struct hk_process_key key_of(struct task_struct *task)
{
    return (struct hk_process_key){.pid = (uint32_t)task->tgid, .start_time = task->group_leader->start_boottime};
}

/* A child of vfork runs in its parent's memory: the account is the parent's, and tells all. */
static __always_inline bool is_guest(struct task_struct *task)
{
    return task->mm == task->real_parent->mm;
}

static __always_inline void describe_executable(struct hk_executable *executable, struct task_struct *task)
{
    struct file *file = BPF_CORE_READ(task, mm, exe_file);
    executable->device = BPF_CORE_READ(file, f_inode, i_sb, s_dev);
    executable->inode = BPF_CORE_READ(file, f_inode, i_ino);
    bpf_probe_read_kernel_str(executable->name, sizeof executable->name,
                              BPF_CORE_READ(file, f_path.dentry, d_name.name));
}

static __always_inline void describe_name(struct hk_process *process, struct task_struct *task)
{
    bpf_probe_read_kernel_str(process->comm, sizeof process->comm, task->group_leader->comm);
}

static __always_inline struct hk_process *begin_process(const struct hk_process_key *key, struct task_struct *task)
{
    long error = bpf_map_update_elem(&processes, key, &no_process, BPF_NOEXIST);
    struct hk_process *process = bpf_map_lookup_elem(&processes, key);
    if (!process) {
        count_lost(HK_LOST_MAP_FULL);
        return NULL;
    }
    if (error) /* another thread was faster */
        return process;
    process->key = *key;
    process->first_seen = bpf_ktime_get_boot_ns();
    process->uid = BPF_CORE_READ(task, cred, uid.val);
    process->parent_pid = (uint32_t)task->real_parent->tgid;
    describe_name(process, task);
    describe_executable(&process->executable, task);
    struct hk_summary *sum = the_summary();
    if (sum)
        add(&sum->totals.processes, 1);
    return process;
}

/* The entry of the process that fired a probe; NULL when there is none to write to. */
static __always_inline struct hk_process *current_process(struct hk_process_key *key)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
    if (is_guest(task))
        return NULL;
    *key = key_of(task);
    struct hk_process *process = bpf_map_lookup_elem(&processes, key);
    if (!process)
        process = begin_process(key, task);
    if (!process)
        return NULL;
    if (process->state == HK_PROCESS_ENDED) {
        count_lost(HK_LOST_BUSY);
        return NULL;
    }
    process->last_seen = bpf_ktime_get_boot_ns();
    return process;
}

/* The generation that an account says it is of, for a process of which no event has told it. A child of fork that has not
 * entered the allocator yet has its parent's account: that began before the child did. */
static __always_inline bool is_own_generation(struct task_struct *task, uint64_t generation)
{
    return generation >= task->group_leader->start_time;
}

/* ---- the end ---- */

struct bpf_map;

struct fold {
    const struct hk_process *process;
    struct hk_process_key key;
    struct hk_executable executable;
};

static __always_inline struct hk_ended *ended_of(const struct hk_executable *executable)
{
    struct hk_ended *found = bpf_map_lookup_elem(&ended, executable);
    if (found)
        return found;
    bpf_map_update_elem(&ended, executable, &no_ended, BPF_NOEXIST);
    found = bpf_map_lookup_elem(&ended, executable);
    if (found)
        return found;
    return bpf_map_lookup_elem(&ended, &other_executables);
}

static long fold_class(uint32_t class_idx, struct fold *fold)
{
    struct hk_class_key key = {.process = fold->key, .class_idx = class_idx};
    struct hk_class_account *account = bpf_map_lookup_elem(&accounts, &key);
    struct hk_ended *sums = ended_of(&fold->executable);
    if (!account || !sums)
        return 0;
    for (unsigned int word = WORD_OF(allocs); word < HK_ACCOUNT_WORDS; word++)
        if (!is_absolute(word))
            add((uint64_t *)&sums->totals.account + word, ((uint64_t *)account)[word]);
    for (unsigned int reason = 0; reason < HK_DRAIN_REASONS; reason++)
        add(&sums->totals.drain_bytes[reason], account->drain_blocks[reason] * account->block_size);
    bpf_map_delete_elem(&accounts, &key);
    bpf_map_delete_elem(&caps, &key);
    return 0;
}

/* The words of struct hk_events up to the failures, and then the failures, whose last words are no counts. */
#define EVENT_COUNTS (offsetof(struct hk_events, shared_fails) / sizeof(uint64_t))
#define EVENT_FAILURES \
    ((sizeof(struct hk_events) - offsetof(struct hk_events, shared_fails)) / sizeof(struct hk_failures))
#define FAILURE_COUNTS (offsetof(struct hk_failures, last_errno) / sizeof(uint64_t))

static long fold_event(uint32_t i, struct fold *fold)
{
    struct hk_ended *sums = ended_of(&fold->executable);
    if (sums && i < EVENT_COUNTS)
        add((uint64_t *)&sums->events + i, ((const uint64_t *)&fold->process->events)[i]);
    return 0;
}

static long fold_failure(uint32_t i, struct fold *fold)
{
    struct hk_ended *sums = ended_of(&fold->executable);
    if (!sums || i >= EVENT_FAILURES)
        return 0;
    struct hk_failures *sum = &sums->events.shared_fails[0] + i;
    const struct hk_failures *failures = &fold->process->events.shared_fails[0] + i;
    for (unsigned int word = 0; word < FAILURE_COUNTS; word++)
        add((uint64_t *)sum + word, ((const uint64_t *)failures)[word]);
    if (failures->last_time <= sum->last_time)
        return 0;
    sum->last_time = failures->last_time;
    if (failures->last_errno)
        sum->last_errno = failures->last_errno;
    return 0;
}

static long drop_stack(struct bpf_map *map, const struct hk_stack_key *key, struct hk_stack *stack, struct fold *fold)
{
    if (key->process.pid == fold->key.pid && key->process.start_time == fold->key.start_time)
        bpf_map_delete_elem(map, key);
    return 0;
}

/* A function of its own: with its callers' variables it would not fit the stack. */
static __noinline void fold_process(const struct hk_process *process)
{
    struct fold fold = {.process = process, .key = process->key, .executable = process->executable};
    struct hk_ended *sums = ended_of(&fold.executable);
    struct hk_summary *sum = the_summary();
    if (sums)
        add(&sums->totals.processes, 1);
    if (sum)
        add(&sum->processes_ended, 1);
    bpf_loop(HK_ACCOUNT_CLASSES, fold_class, &fold, 0);
    bpf_loop(EVENT_COUNTS, fold_event, &fold, 0);
    bpf_loop(EVENT_FAILURES, fold_failure, &fold, 0);
    if (process->events.stacks != 0)
        bpf_for_each_map_elem(&stacks, drop_stack, &fold, 0);
    bpf_map_delete_elem(&processes, &fold.key);
}

static __always_inline void end_process(struct hk_process *process)
{
    for (int tries = 0; tries < 8; tries++) {
        uint64_t state = __sync_val_compare_and_swap(&process->state, HK_PROCESS_LIVE, HK_PROCESS_ENDED);
        if (state == HK_PROCESS_LIVE) {
            fold_process(process);
            return;
        }
        if (state == HK_PROCESS_ENDED || __sync_val_compare_and_swap(&process->state, HK_PROCESS_REFRESHED,
                                                                     HK_PROCESS_ENDED) == HK_PROCESS_REFRESHED)
            return;
    }
}

static __always_inline void release_process(struct hk_process *process)
{
    if (__sync_val_compare_and_swap(&process->state, HK_PROCESS_REFRESHED, HK_PROCESS_LIVE) == HK_PROCESS_ENDED)
        fold_process(process);
}

/* Hold a process's entry against its end, for a moment. NULL: there is none of that generation, or somebody else is at it. */
static __always_inline struct hk_process *hold_process(const struct hk_process_key *key, uint64_t generation)
{
    struct hk_process *process = bpf_map_lookup_elem(&processes, key);
    if (!process ||
        __sync_val_compare_and_swap(&process->state, HK_PROCESS_LIVE, HK_PROCESS_REFRESHED) != HK_PROCESS_LIVE)
        return NULL;
    /* Between the look-up and the hold the entry may have become another process's. */
    if (process->key.pid == key->pid && process->key.start_time == key->start_time && process->generation == generation)
        return process;
    release_process(process);
    return NULL;
}

#endif
