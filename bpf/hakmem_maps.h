/* hakmem_maps.h - what the BPF programs gather, as it lies in the pinned maps: the types of all keys and values, shared by
 * the programs, the loader and every reader.
 *
 *   PIN_DIR/maps/NAME      the maps below; readable by whom `hkstat attach --mode` allows
 *   PIN_DIR/refresh        reading this file to its end brings `accounts` up to date for every watched process
 *   PIN_DIR/programs/NAME, PIN_DIR/links/TARGET/PROBE     what keeps the collection going
 *   PIN_DIR/loader/NAME   what the next attach needs, and nobody else
 *
 *   map            kind           key                        value
 *   accounts       hash           struct hk_class_key        struct hk_class_account (src/account.h)
 *   caps           hash           struct hk_class_key        struct hk_cap
 *   processes      hash           struct hk_process_key      struct hk_process
 *   ended          hash           struct hk_executable       struct hk_ended: of the processes that ended
 *   summary        array of 1     0                          struct hk_summary: all processes, ended ones included
 *   lost           array          enum hk_lost               count of what could not be recorded, and why
 *   events         per-CPU array  enum hk_probe_idx          how often each probe was seen
 *   targets        hash           target's number            struct hk_target: what the loader has attached to
 *   stacks         hash           struct hk_stack_key        struct hk_stack: of live processes (attach --stacks)
 *
 * A walk over a hash map while processes end may come to an entry twice, and miss one that goes: readers go by the key.
 *
 * "start" below: counted since the process's generation began. "attach": counted from events, since the probes were
 * attached. Nothing in an account was checked but its version, length, class and generation: a watched process may lie about
 * itself, and only about itself. Layouts belong to HK_MAPS_VERSION. */
#ifndef HAKMEM_MAPS_H
#define HAKMEM_MAPS_H

#include "../src/account.h"

#define HK_MAPS_VERSION 3u
#define HK_PIN_DIR "/sys/fs/bpf/hakmem"

#define HK_ACCOUNT_WORDS (sizeof(struct hk_class_account) / sizeof(uint64_t))
#define HK_SIZE_BUCKETS 64u /* bucket b: 2^b <= bytes < 2^(b+1); 0 bytes are in bucket 0 */
#define HK_LIMITS 7u   /* 0 none, 1 RLIMIT_AS, 2 RLIMIT_DATA, 3 max_map_count, 4 overcommit, 5 unknown, 6 any other */
#define HK_PURPOSES 6u /* 0 region, 1 SuperSlab, 2 legacy, 3 huge, 4 metadata, 5 any other */
#define HK_MISUSES 16u /* kinds of misuse.def; the last is any other */
#define HK_COMM_LENGTH 16u
#define HK_NAME_LENGTH 48u
#define HK_PATH_LENGTH 256u
#define HK_TARGETS_MAX 1024u
#define HK_STACK_DEPTH 32u

/* Indices of `events`, in the order of the probes' table. */
enum hk_probe_idx {
#define HK_PROBE(name, n, args, text) HK_PROBE_IDX_##name,
#include "../probes/hakmem_probes.def"
#undef HK_PROBE
    HK_PROBE_COUNT
};

/* Indices of `lost`. */
enum hk_lost {
    HK_LOST_MAP_FULL,    /* no room in a map: a process, class or stack is missing, or what an event said */
    HK_LOST_READ_FAULT,  /* an account could not be read from the process's memory */
    HK_LOST_BAD_CLASS,   /* a class index out of range */
    HK_LOST_BAD_ACCOUNT, /* an account of another version, length, class or generation, or counts beyond 2^56 */
    HK_LOST_BUSY,        /* events of a process whose entry was on its way out (it had just called exec) */
    HK_LOST_STACK,       /* stacks that could not be walked */
    HK_LOST_REASONS
};

/* A process. start_time: nanoseconds since boot, of the group leader; field 22 of /proc/PID/stat is start_time divided by
 * the nanoseconds of a clock tick. The pid is that of the initial namespace. */
struct hk_process_key {
    uint64_t pid;
    uint64_t start_time;
};

struct hk_class_key {
    struct hk_process_key process;
    uint64_t class_idx; /* 0..HK_ACCOUNT_CLASSES - 1 */
};

/* An executable file. All zero: processes for whose executable there was no room. */
struct hk_executable {
    uint64_t device; /* as the kernel counts: major << 20 | minor */
    uint64_t inode;
    char name[HK_NAME_LENGTH]; /* last part of its path, cut off, terminated; whatever bytes the file system has */
};

/* Errors as the kernel gives them, in kinds. */
enum hk_errno_kind {
    HK_ERRNO_NONE,
    HK_ERRNO_ENOMEM,
    HK_ERRNO_EAGAIN,
    HK_ERRNO_EPERM,
    HK_ERRNO_EINVAL,
    HK_ERRNO_OTHER,
    HK_ERRNO_KINDS
};

/* Failures of one sort; attach. */
struct hk_failures {
    uint64_t count;
    uint64_t by_errno[HK_ERRNO_KINDS];
    uint64_t by_limit[HK_LIMITS];
    uint64_t last_errno; /* the last that was not 0 */
    uint64_t last_time;  /* nanoseconds since boot */
};

/* Dealings with the kernel of one purpose; attach. */
struct hk_traffic {
    uint64_t maps, map_bytes;
    uint64_t unmaps, unmap_bytes;
};

/* What was counted from a process's events; attach. */
struct hk_events {
    uint64_t superslab_maps, superslab_unmaps;
    uint64_t legacy_maps, legacy_unmaps;
    uint64_t purges;
    uint64_t thread_starts, thread_exits;
    uint64_t caps_raised, caps_lowered;
    struct hk_traffic traffic[HK_PURPOSES];
    uint64_t ace_fail_sizes[HK_ACE_FAILS][HK_SIZE_BUCKETS]; /* of what was requested */
    uint64_t alloc_fail_sizes[HK_SIZE_BUCKETS];
    uint64_t misuses[HK_MISUSES];
    uint64_t stacks; /* that were kept, anew or again */
    struct hk_failures shared_fails[HK_SHARED_FAILS];
    struct hk_failures ace_fails[HK_ACE_FAILS];
    struct hk_failures alloc_fails;
};

/* What is known of `now`-values: bits of hk_process.known. */
enum hk_known {
    HK_KNOWN_SUPERSLABS = 1,
    HK_KNOWN_LEGACY_CHUNKS = 2,
    HK_KNOWN_MAPPED_BYTES = 4,
    HK_KNOWN_PURGED_BYTES = 8,
    HK_KNOWN_THREADS = 16,
};

/* What the kernel's side is doing with a process's entry. */
enum hk_process_state {
    HK_PROCESS_LIVE,
    HK_PROCESS_REFRESHED, /* a reader of PIN_DIR/refresh is at it */
    HK_PROCESS_ENDED,     /* about to be folded into `ended` */
};

struct hk_process {
    struct hk_process_key key;
    uint64_t state;            /* enum hk_process_state */
    char comm[HK_COMM_LENGTH]; /* of the group leader, at the last report; whatever bytes the process chose */
    struct hk_executable executable;
    uint64_t uid;
    uint64_t parent_pid;
    uint64_t first_seen; /* nanoseconds since boot */
    uint64_t last_seen;  /* of the last event */
    uint64_t generation; /* 0: not known yet, and `accounts` has nothing */
    uint64_t copied_at;  /* nanoseconds since boot: when an event last copied all accounts */
    uint64_t account;    /* address of class 0's account in the process; 0: not known yet, and `accounts` has nothing */
    uint64_t known;      /* bits of enum hk_known */
    /* Now, as the last event or copy of the account told. */
    uint64_t superslabs, superslabs_peak;
    uint64_t legacy_chunks;
    uint64_t mapped_bytes, mapped_bytes_peak;
    uint64_t threads, threads_peak;
    uint64_t purged_bytes; /* start */
    struct hk_events events;
};

/* A cap of ACE, as it last moved; attach. */
struct hk_cap {
    uint64_t raised, lowered;  /* moves */
    uint64_t from, to;         /* blocks */
    uint64_t hit_rate, target; /* per cent: of the window before the move, and what is aimed at */
    uint64_t last_time;        /* nanoseconds since boot */
};

/* Sums over processes and classes; start. */
struct hk_totals {
    uint64_t processes;
    struct hk_class_account account; /* summed word by word; header, inherited and absolute numbers are 0 */
    uint64_t drain_bytes[HK_DRAIN_REASONS];
};

/* Of all processes of an executable that have ended. */
struct hk_ended {
    struct hk_totals totals;
    struct hk_events events;
};

enum hk_link_kind { HK_LINK_UPROBE_MULTI, HK_LINK_PERF_EVENT };

struct hk_summary {
    uint64_t version;     /* HK_MAPS_VERSION */
    uint64_t attached_at; /* nanoseconds since boot, of the first attach */
    uint64_t link_kind;   /* enum hk_link_kind */
    uint64_t with_stacks; /* whether `stacks` is there */
    uint64_t
        with_exits; /* whether accounts are copied whenever a thread ends: the memory goes before the process does */
    uint64_t processes_ended;
    struct hk_totals totals; /* processes: all that were ever seen */
};

struct hk_target {
    uint64_t pid;        /* 0: every process that maps the file, now and later */
    uint64_t start_time; /* of pid, nanoseconds since boot in whole clock ticks; 0 if pid is 0 */
    uint64_t device;     /* of the file, as stat(2) gives it */
    uint64_t inode;
    uint64_t probes;           /* bit i: probe i of enum hk_probe_idx is attached */
    char path[HK_PATH_LENGTH]; /* of the file as the loader found it, cut off, terminated */
};

/* A library whose accounts the loader looks for in processes that run. */
struct hk_wanted_library {
    uint64_t mapping;    /* an address in the loader at which it has mapped the file */
    uint64_t pid;        /* 0: in every process */
    uint64_t start_time; /* of pid, as in hk_target */
    uint64_t tick_ns;    /* nanoseconds of a clock tick */
    uint64_t page_size;
    uint64_t site;    /* offset in the file of an instruction: the mapping that has it is the library's code */
    uint64_t account; /* of hk_account: its distance from where offset 0 of the file would be, mapped with that code */
};

/* What kind of failure a stack is of; `reason` is its probe's. */
enum hk_stack_kind { HK_STACK_SHARED_FAIL, HK_STACK_ACE_FAIL, HK_STACK_ALLOC_FAIL, HK_STACK_MISUSE };

struct hk_stack_key {
    struct hk_process_key process;
    uint32_t kind;   /* enum hk_stack_kind */
    uint32_t reason; /* of shared_fail and ace_fail; the limit of alloc_fail; the kind of misuse */
    uint64_t hash;   /* of the frames */
};

struct hk_stack {
    uint64_t count;
    uint64_t frames[HK_STACK_DEPTH]; /* return addresses, the innermost first, as many as there are; then 0 */
};

#endif
