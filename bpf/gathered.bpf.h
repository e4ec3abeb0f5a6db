/* gathered.bpf.h - the maps of hakmem_maps.h, and what is written to them from more than one program. */
#ifndef HAKMEM_GATHERED_BPF_H
#define HAKMEM_GATHERED_BPF_H

#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/ptrace.h>

/* after the types */
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "hakmem_maps.h"
#include "kernel_types.h"

#define MAX_PROCESSES 8192
#define MAX_ACCOUNTS 131072
#define MAX_STACKS 16384

/* Set by the loader. */
const volatile bool with_stacks = false;
const volatile bool memory_outlives_process = false; /* sched_process_exit comes before the memory goes: Linux 6.16 */

/* What new entries begin as: too large for the stack. */
const struct hk_process no_process = {};
const struct hk_class_account no_account = {};
const struct hk_ended no_ended = {};

/* The key of those for whose executable there is no room. */
const struct hk_executable other_executables = {};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, MAX_ACCOUNTS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct hk_class_key);
    __type(value, struct hk_class_account);
} accounts SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, MAX_ACCOUNTS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct hk_class_key);
    __type(value, struct hk_cap);
} caps SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, MAX_PROCESSES);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct hk_process_key);
    __type(value, struct hk_process);
} processes SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1024);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct hk_executable);
    __type(value, struct hk_ended);
} ended SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, uint32_t);
    __type(value, struct hk_summary);
} summary SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, HK_LOST_REASONS);
    __type(key, uint32_t);
    __type(value, uint64_t);
} lost SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, HK_PROBE_COUNT);
    __type(key, uint32_t);
    __type(value, uint64_t);
} events SEC(".maps");

/* Written by the loader alone. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, HK_TARGETS_MAX);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, uint32_t);
    __type(value, struct hk_target);
} targets SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, MAX_STACKS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct hk_stack_key);
    __type(value, struct hk_stack);
} stacks SEC(".maps");

#define WORD_OF(field) (offsetof(struct hk_class_account, field) / sizeof(uint64_t))

/* Whether a word of an account is no count: it may fall, and sums of it say nothing. */
static __always_inline bool is_absolute(unsigned int word)
{
    return word == WORD_OF(inherited) || word == WORD_OF(inherited_bytes) ||
           (word >= WORD_OF(cap_blocks) && word <= WORD_OF(slab_blocks));
}

static __always_inline void add(uint64_t *count, uint64_t n)
{
    __sync_fetch_and_add(count, n);
}

/* Raise *count to n. Returns by how much this call raised it: calls that race share the difference among them. */
static __always_inline uint64_t raise_to(uint64_t *count, uint64_t n)
{
    uint64_t was = *(volatile uint64_t *)count;
    for (int tries = 0; tries < 4 && was < n; tries++) {
        uint64_t seen = __sync_val_compare_and_swap(count, was, n);
        if (seen == was)
            return n - was;
        was = seen;
    }
    return 0;
}

static __always_inline void count_lost(enum hk_lost reason)
{
    uint32_t key = reason;
    uint64_t *count = bpf_map_lookup_elem(&lost, &key);
    if (count)
        add(count, 1);
}

static __always_inline struct hk_summary *the_summary(void)
{
    uint32_t key = 0;
    return bpf_map_lookup_elem(&summary, &key);
}

#endif
