/* hakmem.bpf.c - what is gathered from hakmem's probes, in the kernel. A program for each probe, named as the probe; the
 * arguments are where the probes' ABI promises them, in the registers of a function's. What a process says is never
 * trusted: a class is bounds-checked, any other number only ever added, compared or stored. */
#include "account.bpf.h"
#include "discovery.bpf.h"
#include "gathered.bpf.h"
#include "process.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

static __always_inline void count_event(enum hk_probe_idx probe)
{
    uint32_t key = probe;
    uint64_t *count = bpf_map_lookup_elem(&events, &key);
    if (count)
        (*count)++;
}

/* Every probe's program begins so. */
static __always_inline struct hk_process *event(enum hk_probe_idx probe, struct hk_process_key *key)
{
    count_event(probe);
    return current_process(key);
}

static __always_inline bool is_class(uint64_t class_idx)
{
    if (class_idx < HK_ACCOUNT_CLASSES)
        return true;
    count_lost(HK_LOST_BAD_CLASS);
    return false;
}

static __always_inline uint64_t at_most(uint64_t n, uint64_t most)
{
    return n < most ? n : most;
}

static __always_inline unsigned int errno_kind(uint64_t error)
{
    switch (error) {
    case 0:
        return HK_ERRNO_NONE;
    case 1:
        return HK_ERRNO_EPERM;
    case 11:
        return HK_ERRNO_EAGAIN;
    case 12:
        return HK_ERRNO_ENOMEM;
    case 22:
        return HK_ERRNO_EINVAL;
    default:
        return HK_ERRNO_OTHER;
    }
}

static __always_inline unsigned int size_bucket(uint64_t size)
{
    unsigned int bucket = 0;
    for (unsigned int step = 32; step > 0; step /= 2)
        if (size >> step) {
            size >>= step;
            bucket += step;
        }
    return bucket & (HK_SIZE_BUCKETS - 1);
}

static __always_inline void count_failure(struct hk_failures *failures, uint64_t error, uint64_t limit)
{
    add(&failures->count, 1);
    add(&failures->by_errno[errno_kind(error)], 1);
    add(&failures->by_limit[at_most(limit, HK_LIMITS - 1)], 1);
    failures->last_time = bpf_ktime_get_boot_ns();
    if (error)
        failures->last_errno = error;
}

static __always_inline uint64_t hash_of(const uint64_t frames[HK_STACK_DEPTH])
{
    uint64_t hash = 0;
    for (unsigned int i = 0; i < HK_STACK_DEPTH; i++)
        hash = (hash ^ frames[i]) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

static __always_inline void keep_stack(struct pt_regs *ctx, struct hk_process *process, enum hk_stack_kind kind,
                                       uint32_t reason)
{
    if (!with_stacks)
        return;
    struct hk_stack stack = {.count = 0}, *known;
    struct hk_stack_key key = {.process = process->key, .kind = kind, .reason = reason};
    if (bpf_get_stack(ctx, stack.frames, sizeof stack.frames, BPF_F_USER_STACK) < 0) {
        count_lost(HK_LOST_STACK);
        return;
    }
    key.hash = hash_of(stack.frames);
    bpf_map_update_elem(&stacks, &key, &stack, BPF_NOEXIST);
    known = bpf_map_lookup_elem(&stacks, &key);
    if (!known) {
        count_lost(HK_LOST_MAP_FULL);
        return;
    }
    add(&known->count, 1);
    add(&process->events.stacks, 1);
}

/* ---- misses, reports, drains ---- */

SEC("uprobe")
int fast_miss(struct pt_regs *ctx)
{
    count_event(HK_PROBE_IDX_fast_miss);
    return 0;
}

/* Whether all accounts are to be copied by the current event: of those that come at once, by one. */
static __always_inline bool copy_is_due(struct hk_process *process)
{
    uint64_t now = bpf_ktime_get_boot_ns(), last = process->copied_at;
    return now - last >= COPY_INTERVAL && __sync_val_compare_and_swap(&process->copied_at, last, now) == last;
}

/* The account's place in the process; false: it can't be that. A generation that is another's has no account here. */
static __always_inline bool learn_account(struct hk_process *process, uint64_t address, uint64_t generation)
{
    if (process->generation == 0)
        process->generation = generation;
    if (process->generation != generation)
        return false;
    process->account = address;
    return true;
}

SEC("uprobe")
int cache_report(struct pt_regs *ctx)
{
    uint64_t class_idx = PT_REGS_PARM1(ctx), account = PT_REGS_PARM2(ctx), generation = PT_REGS_PARM3(ctx);
    struct hk_process_key key;
    struct hk_process *process = event(HK_PROBE_IDX_cache_report, &key);
    if (!process || !is_class(class_idx))
        return 0;
    account -= class_idx * sizeof(struct hk_class_account);
    if (PT_REGS_PARM4(ctx) != sizeof(struct hk_class_account) || !learn_account(process, account, generation)) {
        count_lost(HK_LOST_BAD_ACCOUNT);
        return 0;
    }
    if (copy_is_due(process))
        merge_all(&key, process);
    return 0;
}

SEC("uprobe")
int tls_drain(struct pt_regs *ctx)
{
    count_event(HK_PROBE_IDX_tls_drain);
    return 0;
}

/* ---- capacity ---- */

SEC("uprobe")
int slab_acquire(struct pt_regs *ctx)
{
    count_event(HK_PROBE_IDX_slab_acquire);
    return 0;
}

SEC("uprobe")
int slab_release(struct pt_regs *ctx)
{
    count_event(HK_PROBE_IDX_slab_release);
    return 0;
}

SEC("uprobe")
int superslab_map(struct pt_regs *ctx)
{
    struct hk_process_key key;
    struct hk_process *process = event(HK_PROBE_IDX_superslab_map, &key);
    if (!process)
        return 0;
    add(&process->events.superslab_maps, 1);
    set_superslabs(process, PT_REGS_PARM2(ctx));
    return 0;
}

SEC("uprobe")
int superslab_unmap(struct pt_regs *ctx)
{
    struct hk_process_key key;
    struct hk_process *process = event(HK_PROBE_IDX_superslab_unmap, &key);
    if (!process)
        return 0;
    add(&process->events.superslab_unmaps, 1);
    set_superslabs(process, PT_REGS_PARM2(ctx));
    return 0;
}

SEC("uprobe")
int os_map(struct pt_regs *ctx)
{
    struct hk_process_key key;
    struct hk_process *process = event(HK_PROBE_IDX_os_map, &key);
    if (!process)
        return 0;
    struct hk_traffic *traffic = &process->events.traffic[at_most(PT_REGS_PARM3(ctx), HK_PURPOSES - 1)];
    add(&traffic->maps, 1);
    add(&traffic->map_bytes, PT_REGS_PARM2(ctx));
    set_mapped(process, PT_REGS_PARM4(ctx));
    return 0;
}

SEC("uprobe")
int os_unmap(struct pt_regs *ctx)
{
    struct hk_process_key key;
    struct hk_process *process = event(HK_PROBE_IDX_os_unmap, &key);
    if (!process)
        return 0;
    struct hk_traffic *traffic = &process->events.traffic[at_most(PT_REGS_PARM3(ctx), HK_PURPOSES - 1)];
    add(&traffic->unmaps, 1);
    add(&traffic->unmap_bytes, PT_REGS_PARM2(ctx));
    set_mapped(process, PT_REGS_PARM4(ctx));
    return 0;
}

SEC("uprobe")
int os_purge(struct pt_regs *ctx)
{
    struct hk_process_key key;
    struct hk_process *process = event(HK_PROBE_IDX_os_purge, &key);
    if (!process)
        return 0;
    add(&process->events.purges, 1);
    set_purged(process, PT_REGS_PARM3(ctx));
    return 0;
}

SEC("uprobe")
int ace_adapt(struct pt_regs *ctx)
{
    uint64_t class_idx = PT_REGS_PARM1(ctx), from = PT_REGS_PARM2(ctx), to = PT_REGS_PARM3(ctx);
    struct hk_process_key key;
    struct hk_process *process = event(HK_PROBE_IDX_ace_adapt, &key);
    if (!process || !is_class(class_idx))
        return 0;
    struct hk_class_key class_key = {.process = key, .class_idx = class_idx};
    struct hk_cap nothing = {}, *cap = bpf_map_lookup_elem(&caps, &class_key);
    if (!cap) {
        bpf_map_update_elem(&caps, &class_key, &nothing, BPF_NOEXIST);
        cap = bpf_map_lookup_elem(&caps, &class_key);
    }
    if (!cap) {
        count_lost(HK_LOST_MAP_FULL);
        return 0;
    }
    if (to > from) {
        add(&cap->raised, 1);
        add(&process->events.caps_raised, 1);
    } else {
        add(&cap->lowered, 1);
        add(&process->events.caps_lowered, 1);
    }
    cap->from = from;
    cap->to = to;
    cap->hit_rate = PT_REGS_PARM4(ctx);
    cap->target = PT_REGS_PARM5(ctx);
    cap->last_time = bpf_ktime_get_boot_ns();
    return 0;
}

/* ---- fallback and failures ---- */

SEC("uprobe")
int shared_fail(struct pt_regs *ctx)
{
    uint64_t reason = PT_REGS_PARM2(ctx);
    struct hk_process_key key;
    struct hk_process *process = event(HK_PROBE_IDX_shared_fail, &key);
    if (!process)
        return 0;
    count_failure(&process->events.shared_fails[at_most(reason, HK_SHARED_FAILS - 1)], PT_REGS_PARM3(ctx), 0);
    keep_stack(ctx, process, HK_STACK_SHARED_FAIL, reason);
    return 0;
}

SEC("uprobe")
int legacy_alloc(struct pt_regs *ctx)
{
    struct hk_process_key key;
    struct hk_process *process = event(HK_PROBE_IDX_legacy_alloc, &key);
    if (!process)
        return 0;
    add(&process->events.legacy_maps, 1);
    set_legacy_chunks(process, PT_REGS_PARM4(ctx));
    return 0;
}

SEC("uprobe")
int legacy_free(struct pt_regs *ctx)
{
    struct hk_process_key key;
    struct hk_process *process = event(HK_PROBE_IDX_legacy_free, &key);
    if (!process)
        return 0;
    add(&process->events.legacy_unmaps, 1);
    set_legacy_chunks(process, PT_REGS_PARM4(ctx));
    return 0;
}

SEC("uprobe")
int ace_fail(struct pt_regs *ctx)
{
    uint64_t failure = at_most(PT_REGS_PARM3(ctx), HK_ACE_FAILS - 1);
    struct hk_process_key key;
    struct hk_process *process = event(HK_PROBE_IDX_ace_fail, &key);
    if (!process)
        return 0;
    count_failure(&process->events.ace_fails[failure], PT_REGS_PARM4(ctx), PT_REGS_PARM5(ctx));
    add(&process->events.ace_fail_sizes[failure][size_bucket(PT_REGS_PARM2(ctx))], 1);
    keep_stack(ctx, process, HK_STACK_ACE_FAIL, failure);
    return 0;
}

SEC("uprobe")
int alloc_fail(struct pt_regs *ctx)
{
    uint64_t limit = PT_REGS_PARM3(ctx);
    struct hk_process_key key;
    struct hk_process *process = event(HK_PROBE_IDX_alloc_fail, &key);
    if (!process)
        return 0;
    count_failure(&process->events.alloc_fails, PT_REGS_PARM2(ctx), limit);
    add(&process->events.alloc_fail_sizes[size_bucket(PT_REGS_PARM1(ctx))], 1);
    keep_stack(ctx, process, HK_STACK_ALLOC_FAIL, limit);
    return 0;
}

SEC("uprobe")
int misuse(struct pt_regs *ctx)
{
    uint64_t kind = PT_REGS_PARM1(ctx);
    struct hk_process_key key;
    struct hk_process *process = event(HK_PROBE_IDX_misuse, &key);
    if (!process)
        return 0;
    add(&process->events.misuses[at_most(kind, HK_MISUSES - 1)], 1);
    keep_stack(ctx, process, HK_STACK_MISUSE, kind);
    return 0;
}

/* ---- life ---- */

SEC("uprobe")
int thread_start(struct pt_regs *ctx)
{
    struct hk_process_key key;
    struct hk_process *process = event(HK_PROBE_IDX_thread_start, &key);
    if (!process)
        return 0;
    add(&process->events.thread_starts, 1);
    set_threads(process, PT_REGS_PARM2(ctx));
    return 0;
}

SEC("uprobe")
int thread_exit(struct pt_regs *ctx)
{
    struct hk_process_key key;
    struct hk_process *process = event(HK_PROBE_IDX_thread_exit, &key);
    if (!process)
        return 0;
    add(&process->events.thread_exits, 1);
    set_threads(process, PT_REGS_PARM2(ctx));
    if (!memory_outlives_process) /* what the thread had not told yet is in the accounts, perhaps for the last time */
        merge_all(&key, process);
    return 0;
}

/* A child has its accounts where its parent has them, and may end before it has told. */
SEC("uprobe")
int process_fork(struct pt_regs *ctx)
{
    struct hk_process_key key;
    struct hk_process *process = event(HK_PROBE_IDX_process_fork, &key);
    if (!process || process->generation != 0)
        return 0;
    process->generation = PT_REGS_PARM1(ctx);
    struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
    struct hk_process_key parent_key = key_of(task->real_parent);
    struct hk_process *parent = bpf_map_lookup_elem(&processes, &parent_key);
    if (parent)
        process->account = parent->account;
    return 0;
}

SEC("uprobe")
int guard_alloc(struct pt_regs *ctx)
{
    count_event(HK_PROBE_IDX_guard_alloc);
    return 0;
}

/* Once the last thread ends. Since Linux 6.16 its memory is still there: what was lost by _exit or a signal is read. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
    struct hk_process_key key = key_of(task);
    struct hk_process *process = bpf_map_lookup_elem(&processes, &key);
    if (!process || task->signal->live.counter > 0)
        return 0;
    if (task->mm && process->state != HK_PROCESS_ENDED)
        merge_all(&key, process);
    end_process(process);
    return 0;
}

/* Before exec takes the memory away; since Linux 6.10. */
SEC("tp_btf/sched_prepare_exec")
int BPF_PROG(process_before_exec, struct task_struct *task)
{
    struct hk_process_key key = key_of(task);
    struct hk_process *process = bpf_map_lookup_elem(&processes, &key);
    if (process && process->state != HK_PROCESS_ENDED)
        merge_all(&key, process);
    return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task)
{
    struct hk_process_key key = key_of(task);
    struct hk_process *process = bpf_map_lookup_elem(&processes, &key);
    if (process)
        end_process(process);
    return 0;
}

/* ---- bringing the accounts up to date for a reader ---- */

/* Of a process that has not told yet: hold_process() is by generation. A function of its own, as copy_capacity() is. */
static __noinline int learn_generation(struct account_source *source)
{
    source->generation = read_generation(source, source->task, true);
    struct hk_process *process = source->generation != 0 ? hold_process(&source->process, 0) : NULL;
    if (!process)
        return 0;
    if (process->account == source->address)
        process->generation = source->generation;
    release_process(process);
    return 0;
}

SEC("iter.s/task")
int refresh(struct bpf_iter__task *ctx)
{
    struct task_struct *task = ctx->task;
    if (!task || !task->mm || (task->pid != task->tgid && task->group_leader->mm))
        return 0;
    struct account_source source = {.process = key_of(task), .task = task};
    struct hk_process *process = bpf_map_lookup_elem(&processes, &source.process);
    if (!process)
        return 0;
    source.address = process->account;
    source.generation = process->generation;
    if (source.address != 0 && source.generation == 0)
        learn_generation(&source);
    if (source.address == 0 || source.generation == 0 ||
        bpf_loop(HK_ACCOUNT_CLASSES, merge_remote, &source, 0) < HK_ACCOUNT_CLASSES)
        return 0;
    copy_capacity(&source, NULL, true);
    return 0;
}
