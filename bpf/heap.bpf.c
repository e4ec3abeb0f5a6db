/* heap.bpf.c - sampled allocation, told to one reader: hkheap. Loaded for as long as that runs, and attached to one process. */
#include <linux/bpf.h>
#include <linux/ptrace.h>

/* after the types */
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "heap_event.h"

#define RING_BYTES (32u << 20)
#define TOLD_MOST (1u << 20)

/* Set by the reader. */
const volatile uint32_t target =
    0; /* thread group, in the initial namespace; 0: its number there is not known, the link knows it */

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, RING_BYTES);
} heap_events SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, HK_HEAP_LOST_KINDS);
    __type(key, uint32_t);
    __type(value, uint64_t);
} heap_lost SEC(".maps");

static __always_inline void count_lost(uint32_t kind)
{
    uint64_t *count = bpf_map_lookup_elem(&heap_lost, &kind);
    if (count)
        __sync_fetch_and_add(count, 1);
}

/* Blocks that were told of: their frees are told too, and no other. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, TOLD_MOST);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, uint64_t);
    __type(value, uint8_t);
} heap_told SEC(".maps");

/* Where the reader falls behind, one in so many samples is told, and stands for all of them. 0: none, so that frees find room. */
static __always_inline uint32_t thinning(void)
{
    uint64_t sixteenths = bpf_ringbuf_query(&heap_events, BPF_RB_AVAIL_DATA) / (RING_BYTES / 16);
    return sixteenths < 4    ? 1
           : sixteenths < 8  ? 8
           : sixteenths < 10 ? 64
           : sixteenths < 12 ? 512
           : sixteenths < 14 ? 4096
                             : 0;
}

static __always_inline int is_target(void)
{
    return target == 0 || bpf_get_current_pid_tgid() >> 32 == target;
}

static __always_inline void keep_registers(struct hk_heap_alloc *event, struct pt_regs *ctx)
{
    const uint64_t *words = (const uint64_t *)ctx;
#if defined(__TARGET_ARCH_x86)
#pragma unroll
    for (int i = 0; i < 21; i++)
        event->registers[i] = words[i];
#else
#pragma unroll
    for (int i = 0; i < 33; i++)
        event->registers[i] = words[i];
#endif
}

SEC("uprobe")
int heap_alloc(struct pt_regs *ctx)
{
    if (!is_target())
        return 0;
    uint32_t times = thinning();
    if (times > 1 && bpf_get_prandom_u32() % times != 0) {
        count_lost(HK_HEAP_LOST_THINNED);
        return 0;
    }
    uint64_t address = PT_REGS_PARM1(ctx);
    uint8_t told = 1;
    if (times == 0 || bpf_map_update_elem(&heap_told, &address, &told, BPF_ANY) != 0) {
        count_lost(HK_HEAP_LOST_ALLOCS);
        return 0;
    }
    struct hk_heap_alloc *event = bpf_ringbuf_reserve(&heap_events, sizeof *event, 0);
    if (!event) {
        bpf_map_delete_elem(&heap_told, &address);
        count_lost(HK_HEAP_LOST_ALLOCS);
        return 0;
    }
    event->head.kind = HK_HEAP_ALLOC;
    event->head.time = bpf_ktime_get_boot_ns();
    event->head.address = address;
    event->size = PT_REGS_PARM2(ctx);
    event->weight = PT_REGS_PARM3(ctx) * times;
    event->tid = (uint32_t)bpf_get_current_pid_tgid();
    keep_registers(event, ctx);
    uint32_t pieces = 0;
    const char *from = (const char *)PT_REGS_SP(ctx);
    for (; pieces < HK_HEAP_PIECES; pieces++)
        if (bpf_probe_read_user(event->stack + pieces * HK_HEAP_PIECE, HK_HEAP_PIECE, from + pieces * HK_HEAP_PIECE) !=
            0)
            break;
    event->stack_length = pieces * HK_HEAP_PIECE;
    bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP); /* the reader looks by itself */
    return 0;
}

SEC("uprobe")
int heap_free(struct pt_regs *ctx)
{
    if (!is_target())
        return 0;
    uint64_t address = PT_REGS_PARM1(ctx);
    if (bpf_map_delete_elem(&heap_told, &address) != 0)
        return 0;
    struct hk_heap_free *event = bpf_ringbuf_reserve(&heap_events, sizeof *event, 0);
    if (!event) {
        count_lost(HK_HEAP_LOST_FREES);
        return 0;
    }
    event->kind = HK_HEAP_FREE;
    event->time = bpf_ktime_get_boot_ns();
    event->address = address;
    bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP); /* the reader looks by itself */
    return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
