/* account.bpf.h - copying a class's account from a process into `accounts`.
 *
 * Each count is merged by maximum, so copies may come late, twice or in any order. What a count was raised by goes to the
 * summary: the summary is the sum of all accounts at any time, those of ended processes included. */
#ifndef HAKMEM_ACCOUNT_BPF_H
#define HAKMEM_ACCOUNT_BPF_H

#include "capacity.bpf.h"
#include "gathered.bpf.h"
#include "process.bpf.h"

#define COUNT_MAX (1ull << 56) /* beyond is no count of anything, and would wrap the sums around */

#define COPY_INTERVAL 1000000000ull /* ns between copies of a process's accounts by its own events: 0.2 ms each */

/* The account is copied in pieces that fit the stack. */
#define PIECE_WORDS 24
#define HEAD_PIECES 2 /* these have all but histograms, which are empty if all else is 0 */
_Static_assert(WORD_OF(drains) <= PIECE_WORDS, "header, allocations and frees are in the first piece");
_Static_assert(WORD_OF(hits_per_miss) <= HEAD_PIECES * PIECE_WORDS, "all but histograms is in the first two");

/* The copy of one account, under way. */
struct account_copy {
    struct hk_class_key key;
    uint32_t block_size;
    bool newest; /* it has counted no less than any before: its absolute numbers are not history */
    bool used;   /* something was not 0 */
};

static __always_inline bool is_sound(const uint64_t *piece, const struct account_source *source, uint32_t class_idx)
{
    const struct hk_class_account *account = (const void *)piece;
    return account->version == HK_ACCOUNT_VERSION && account->length == sizeof *account &&
           account->class_idx == class_idx && account->generation == source->generation;
}

/* A class that nobody has used has a cap all the same. */
static __always_inline bool is_used(const uint64_t *piece, unsigned int first, unsigned int words)
{
    uint64_t any = 0;
    for (unsigned int i = 0; i < words; i++)
        if (first + i >= WORD_OF(inherited) && (first + i < WORD_OF(cap_blocks) || first + i > WORD_OF(slab_blocks)))
            any |= piece[i];
    return any != 0;
}

static __always_inline struct hk_class_account *account_entry(const struct account_copy *copy, uint64_t generation)
{
    struct hk_class_account *account = bpf_map_lookup_elem(&accounts, &copy->key);
    if (account || !copy->used)
        return account;
    bpf_map_update_elem(&accounts, &copy->key, &no_account, BPF_NOEXIST);
    account = bpf_map_lookup_elem(&accounts, &copy->key);
    if (!account) {
        count_lost(HK_LOST_MAP_FULL);
        return NULL;
    }
    account->version = HK_ACCOUNT_VERSION;
    account->length = sizeof *account;
    account->class_idx = copy->key.class_idx;
    account->block_size = copy->block_size;
    account->generation = generation;
    return account;
}

/* Global, so that the verifier looks at it once and not for each word. */
__noinline int merge_count(struct hk_class_account *account, struct hk_totals *totals, unsigned int word,
                           uint64_t count)
{
    if (!account || !totals || word >= HK_ACCOUNT_WORDS)
        return 0;
    if (count > COUNT_MAX) {
        count_lost(HK_LOST_BAD_ACCOUNT);
        return 0;
    }
    uint64_t raised = raise_to((uint64_t *)account + word, count);
    if (raised == 0)
        return 0;
    add((uint64_t *)&totals->account + word, raised);
    unsigned int reason = word - WORD_OF(drain_blocks);
    barrier_var(reason); /* what is compared is what is used as the index, for the verifier */
    if (reason < HK_DRAIN_REASONS)
        add(&totals->drain_bytes[reason], raised * account->block_size);
    return 0;
}

static __always_inline void merge_piece(struct account_copy *copy, uint64_t generation, const uint64_t *piece,
                                        unsigned int first, unsigned int words)
{
    copy->used = copy->used || is_used(piece, first, words);
    struct hk_class_account *account = account_entry(copy, generation);
    struct hk_summary *sum = the_summary();
    if (!account || !sum)
        return;
    if (first == 0)
        copy->newest = piece[WORD_OF(allocs)] >= account->allocs && piece[WORD_OF(frees)] >= account->frees;
    for (unsigned int i = 0; i < words; i++) {
        if (first + i < WORD_OF(inherited))
            continue;
        if (!is_absolute(first + i))
            merge_count(account, &sum->totals, first + i, piece[i]);
        else if (copy->newest)
            ((uint64_t *)account)[first + i] = piece[i];
    }
}

/* Copy one class's account. `class_idx` is below HK_ACCOUNT_CLASSES. False: it can't be read. A remote process may have ended
 * meanwhile: its own last act is to copy, so nothing is lost by that. */
static __always_inline bool merge_account(const struct account_source *source, uint32_t class_idx, bool remote)
{
    uint64_t piece[PIECE_WORDS];
    uint64_t address = source->address + class_idx * sizeof(struct hk_class_account);
    struct account_copy copy = {.key = {.process = source->process, .class_idx = class_idx}};
    for (unsigned int first = 0; first < HK_ACCOUNT_WORDS; first += PIECE_WORDS) {
        unsigned int words = HK_ACCOUNT_WORDS - first < PIECE_WORDS ? HK_ACCOUNT_WORDS - first : PIECE_WORDS;
        struct hk_process *held = NULL;
        if (read_user(source, piece, words * sizeof(uint64_t), address + first * sizeof(uint64_t), remote)) {
            if (!remote)
                count_lost(HK_LOST_READ_FAULT);
            return false;
        }
        if (first == 0 && !is_sound(piece, source, class_idx)) {
            if (!remote) /* else the process may just have called exec */
                count_lost(HK_LOST_BAD_ACCOUNT);
            return false;
        }
        if (first == 0)
            copy.block_size = ((struct hk_class_account *)piece)->block_size;
        if (remote && !(held = hold_process(&source->process, source->generation)))
            return true;
        merge_piece(&copy, source->generation, piece, first, words);
        if (held)
            release_process(held);
        if (!copy.used && first == (HEAD_PIECES - 1) * PIECE_WORDS)
            break;
    }
    return true;
}

static long merge_local(uint32_t class_idx, struct account_source *source)
{
    if (class_idx < HK_ACCOUNT_CLASSES)
        merge_account(source, class_idx, false);
    return 0;
}

static long merge_remote(uint32_t class_idx, struct account_source *source)
{
    bool is_there = class_idx < HK_ACCOUNT_CLASSES && merge_account(source, class_idx, true);
    return is_there ? 0 : 1;
}

/* The generation of an account that discovery.bpf.h has found; 0: it is not the process's own, or can't be read. */
static __always_inline uint64_t read_generation(const struct account_source *source, struct task_struct *task,
                                                bool remote)
{
    uint64_t generation = 0;
    uint64_t address = source->address + offsetof(struct hk_class_account, generation);
    if (read_user(source, &generation, sizeof generation, address, remote) || !is_own_generation(task, generation))
        return 0;
    return generation;
}

/* Copy all classes' accounts of the current process, and what it is called by now. */
static __always_inline void merge_all(const struct hk_process_key *key, struct hk_process *process)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
    struct account_source source = {
        .process = *key,
        .address = process->account,
        .generation = process->generation,
    };
    if (source.address != 0 && source.generation == 0)
        source.generation = process->generation = read_generation(&source, task, false);
    if (source.address == 0 || source.generation == 0)
        return;
    describe_name(process, task);
    bpf_loop(HK_ACCOUNT_CLASSES, merge_local, &source, 0);
    copy_capacity(&source, process, false);
}

#endif
