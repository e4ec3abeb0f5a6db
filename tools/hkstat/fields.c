#include "fields.h"

#include "bpf/hakmem_maps.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])
#define WORDS_OF(type, member) (sizeof(((type *)0)->member) / sizeof(uint64_t))
#define FIELD(type, name, member, words)                            \
    {                                                               \
        name, offsetof(type, member), WORDS_OF(type, member), words \
    }
#define TABLE(array)           \
    {                          \
        array, COUNT_OF(array) \
    }
#define CHECK_WORDS(words, count) _Static_assert(COUNT_OF(words) == (count), "a word is missing in " #words)

const char *const server_words[] = {"chain", "slab", "empty_slab", "superslab", "legacy"};
CHECK_WORDS(server_words, HK_SERVERS);

const char *const drain_words[] = {"overflow", "exit", "trim", "idle", "fork"};
CHECK_WORDS(drain_words, HK_DRAIN_REASONS);

const char *const shared_fail_words[] = {"cap", "region", "kernel"};
CHECK_WORDS(shared_fail_words, HK_SHARED_FAILS);

const char *const ace_fail_words[] = {"threshold", "exhaustion", "mapfail"};
CHECK_WORDS(ace_fail_words, HK_ACE_FAILS);

const char *const errno_words[] = {"none", "ENOMEM", "EAGAIN", "EPERM", "EINVAL", "other"};
CHECK_WORDS(errno_words, HK_ERRNO_KINDS);

const char *const limit_words[] = {"none",       "RLIMIT_AS", "RLIMIT_DATA", "max_map_count",
                                   "overcommit", "unknown",   "other"};
CHECK_WORDS(limit_words, HK_LIMITS);

const char *const purpose_words[] = {"region", "superslab", "legacy", "huge", "metadata", "other"};
CHECK_WORDS(purpose_words, HK_PURPOSES);

const char *const misuse_words[] = {
#define HK_MISUSE(name, text) #name,
#include "src/misuse.def"
#undef HK_MISUSE
    "11", "12", "13", "14", "other",
};
CHECK_WORDS(misuse_words, HK_MISUSES);

const char *const lost_words[] = {"map_full", "read_fault", "bad_class", "bad_account", "busy", "stack"};
CHECK_WORDS(lost_words, HK_LOST_REASONS);

#define ACCOUNT(name, member, words) FIELD(struct hk_class_account, name, member, words)

static const struct field account_list[] = {
    ACCOUNT("inherited", inherited, NULL),
    ACCOUNT("allocs", allocs, NULL),
    ACCOUNT("frees", frees, NULL),
    ACCOUNT("inherited_bytes", inherited_bytes, NULL),
    ACCOUNT("alloc_bytes", alloc_bytes, NULL),
    ACCOUNT("free_bytes", free_bytes, NULL),
    ACCOUNT("misses", misses, NULL),
    ACCOUNT("ticks", ticks, NULL),
    ACCOUNT("reports", reports, NULL),
    ACCOUNT("refills_by", refills, server_words),
    ACCOUNT("refill_blocks_by", refill_blocks, server_words),
    ACCOUNT("drains_by", drains, drain_words),
    ACCOUNT("drain_blocks_by", drain_blocks, drain_words),
    ACCOUNT("shared_fail_by", shared_fails, shared_fail_words),
    ACCOUNT("legacy_allocs", legacy_allocs, NULL),
    ACCOUNT("legacy_frees", legacy_frees, NULL),
    ACCOUNT("ace_fail", ace_fails, ace_fail_words),
    ACCOUNT("alloc_fail", alloc_fails, NULL),
    ACCOUNT("hits_per_miss", hits_per_miss, NULL),
    ACCOUNT("hit_rate_histogram", hit_rate, NULL),
};
const struct field_table account_fields = TABLE(account_list);

static const struct field capacity_list[] = {
    ACCOUNT("slabs", slabs, NULL),
    ACCOUNT("slab_blocks", slab_blocks, NULL),
    ACCOUNT("cached_blocks", cached_blocks, NULL),
    ACCOUNT("cap_blocks", cap_blocks, NULL),
};
const struct field_table capacity_fields = TABLE(capacity_list);

static const struct field totals_list[] = {FIELD(struct hk_totals, "drain_bytes_by", drain_bytes, drain_words)};
const struct field_table totals_fields = TABLE(totals_list);

#define PROCESS(name, member) FIELD(struct hk_process, name, member, NULL)

static const struct field process_list[] = {
    PROCESS("uid", uid),
    PROCESS("parent_pid", parent_pid),
    PROCESS("first_seen_ns", first_seen),
    PROCESS("last_seen_ns", last_seen),
    PROCESS("generation", generation),
};
const struct field_table process_fields = TABLE(process_list);

static const struct field level_list[] = {
    PROCESS("superslabs", superslabs),
    PROCESS("superslabs_peak", superslabs_peak),
    PROCESS("legacy_chunks", legacy_chunks),
    PROCESS("mapped_bytes", mapped_bytes),
    PROCESS("mapped_bytes_peak", mapped_bytes_peak),
    PROCESS("purged_bytes", purged_bytes),
    PROCESS("threads", threads),
    PROCESS("threads_peak", threads_peak),
};
const struct field_table level_fields = TABLE(level_list);
const unsigned level_known[] = {
    HK_KNOWN_SUPERSLABS,   HK_KNOWN_SUPERSLABS,   HK_KNOWN_LEGACY_CHUNKS, HK_KNOWN_MAPPED_BYTES,
    HK_KNOWN_MAPPED_BYTES, HK_KNOWN_PURGED_BYTES, HK_KNOWN_THREADS,       HK_KNOWN_THREADS,
};
CHECK_WORDS(level_known, COUNT_OF(level_list));

#define EVENT(name, member) FIELD(struct hk_events, name, member, NULL)

static const struct field event_list[] = {
    EVENT("superslab_maps", superslab_maps),
    EVENT("superslab_unmaps", superslab_unmaps),
    EVENT("legacy_maps", legacy_maps),
    EVENT("legacy_unmaps", legacy_unmaps),
    EVENT("purges", purges),
    EVENT("thread_starts", thread_starts),
    EVENT("thread_exits", thread_exits),
    EVENT("caps_raised", caps_raised),
    EVENT("caps_lowered", caps_lowered),
    EVENT("stacks", stacks),
    EVENT("alloc_fail_sizes", alloc_fail_sizes),
    FIELD(struct hk_events, "misuses", misuses, misuse_words),
};
const struct field_table event_fields = TABLE(event_list);

static const struct field ace_size_list[] = {
    EVENT("threshold", ace_fail_sizes[ACE_THRESHOLD]),
    EVENT("exhaustion", ace_fail_sizes[ACE_EXHAUSTION]),
    EVENT("mapfail", ace_fail_sizes[ACE_MAPFAIL]),
};
CHECK_WORDS(ace_size_list, HK_ACE_FAILS);
const struct field_table ace_size_fields = TABLE(ace_size_list);

#define FAILURE(name, member, words) FIELD(struct hk_failures, name, member, words)

static const struct field failure_list[] = {
    FAILURE("count", count, NULL),
    FAILURE("by_errno", by_errno, errno_words),
    FAILURE("by_limit", by_limit, limit_words),
    FAILURE("last_errno", last_errno, NULL),
    FAILURE("last_time_ns", last_time, NULL),
};
const struct field_table failure_fields = TABLE(failure_list);

#define TRAFFIC(name, member) FIELD(struct hk_traffic, name, member, NULL)

static const struct field traffic_list[] = {
    TRAFFIC("maps", maps),
    TRAFFIC("map_bytes", map_bytes),
    TRAFFIC("unmaps", unmaps),
    TRAFFIC("unmap_bytes", unmap_bytes),
};
const struct field_table traffic_fields = TABLE(traffic_list);

#define CAP(name, member) FIELD(struct hk_cap, name, member, NULL)

static const struct field cap_list[] = {
    CAP("raised", raised), CAP("lowered", lowered),        CAP("from", from), CAP("to", to), CAP("hit_rate", hit_rate),
    CAP("target", target), CAP("last_time_ns", last_time),
};
const struct field_table cap_fields = TABLE(cap_list);
