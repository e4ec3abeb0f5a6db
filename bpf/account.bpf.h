/* account.bpf.h - copying a class's account from a process into `accounts`.
 *
 * Each count is merged by maximum, so copies may come late, twice or in any order. What a count was raised by goes to the
 * summary: the summary is the sum of all accounts at any time, those of ended processes included. */
#ifndef HAKMEM_ACCOUNT_BPF_H
#define HAKMEM_ACCOUNT_BPF_H

#include "gathered.bpf.h"

#define WORD_OF(field) (offsetof(struct hk_class_account, field) / sizeof(uint64_t))
#define COUNT_MAX (1ull << 56) /* beyond is no count of anything, and would wrap the sums around */

/* The account is copied in pieces that fit the stack. The first has all but the histograms. */
#define PIECE_WORDS 45
_Static_assert(WORD_OF(hits_per_miss) == PIECE_WORDS, "the first piece ends before the histograms");

/* Where the accounts of a process are. */
struct account_source {
    struct hk_process_key process;
    uint64_t address; /* of class 0's */
    uint64_t generation;
    struct task_struct *task; /* NULL: the current one, without faulting pages in */
};

static __always_inline bool is_absolute(unsigned int word)
{
    return word == WORD_OF(inherited) || word == WORD_OF(inherited_bytes) ||
           (word >= WORD_OF(cap_blocks) && word <= WORD_OF(slab_blocks));
}

static __always_inline long read_piece(const struct account_source *source, uint64_t *piece, uint32_t bytes,
                                       uint64_t address, bool remote)
{
    if (remote)
        return bpf_copy_from_user_task(piece, bytes, (void *)address, source->task, 0);
    return bpf_probe_read_user(piece, bytes, (void *)address);
}

static __always_inline bool is_sound(const uint64_t *piece, const struct account_source *source, uint32_t class_idx)
{
    const struct hk_class_account *account = (const void *)piece;
    return account->version == HK_ACCOUNT_VERSION && account->length == sizeof *account &&
           account->class_idx == class_idx && account->generation == source->generation;
}

/* A class that nobody has used has a cap all the same. */
static __always_inline bool is_used(const uint64_t *piece)
{
    uint64_t any = 0;
    for (unsigned int word = WORD_OF(inherited); word < WORD_OF(cap_blocks); word++)
        any |= piece[word];
    return any != 0;
}

static __always_inline struct hk_class_account *account_entry(const struct hk_class_key *key)
{
    struct hk_class_account *account = bpf_map_lookup_elem(&accounts, key);
    if (account)
        return account;
    bpf_map_update_elem(&accounts, key, &no_account, BPF_NOEXIST);
    return bpf_map_lookup_elem(&accounts, key);
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

/* Copy one class's account. `class_idx` is below HK_ACCOUNT_CLASSES. */
static __always_inline void merge_account(const struct account_source *source, uint32_t class_idx, bool remote)
{
    uint64_t piece[PIECE_WORDS];
    uint64_t address = source->address + class_idx * sizeof(struct hk_class_account);
    struct hk_class_key key = {.process = source->process, .class_idx = class_idx};
    if (read_piece(source, piece, sizeof piece, address, remote)) {
        count_lost(HK_LOST_READ_FAULT);
        return;
    }
    if (!is_sound(piece, source, class_idx)) {
        count_lost(HK_LOST_BAD_ACCOUNT);
        return;
    }
    if (!is_used(piece))
        return;
    struct hk_summary *sum = the_summary();
    struct hk_class_account *account = account_entry(&key);
    if (!account || !sum) {
        count_lost(HK_LOST_MAP_FULL);
        return;
    }
    account->version = HK_ACCOUNT_VERSION;
    account->length = sizeof *account;
    account->class_idx = class_idx;
    account->block_size = ((struct hk_class_account *)piece)->block_size;
    account->generation = source->generation;
    /* A copy that has counted less than another is older than that: its absolute numbers are history. */
    bool newest = piece[WORD_OF(allocs)] >= account->allocs && piece[WORD_OF(frees)] >= account->frees;
    for (unsigned int word = WORD_OF(inherited); word < PIECE_WORDS; word++) {
        if (!is_absolute(word))
            merge_count(account, &sum->totals, word, piece[word]);
        else if (newest)
            ((uint64_t *)account)[word] = piece[word];
    }
    for (unsigned int first = PIECE_WORDS; first < HK_ACCOUNT_WORDS; first += PIECE_WORDS) {
        unsigned int words = HK_ACCOUNT_WORDS - first < PIECE_WORDS ? HK_ACCOUNT_WORDS - first : PIECE_WORDS;
        if (read_piece(source, piece, words * sizeof(uint64_t), address + first * sizeof(uint64_t), remote)) {
            count_lost(HK_LOST_READ_FAULT);
            return;
        }
        account = bpf_map_lookup_elem(&accounts, &key);
        if (!account)
            return;
        for (unsigned int i = 0; i < words; i++)
            merge_count(account, &sum->totals, first + i, piece[i]);
    }
}

static long merge_local(uint32_t class_idx, struct account_source *source)
{
    if (class_idx < HK_ACCOUNT_CLASSES)
        merge_account(source, class_idx, false);
    return 0;
}

/* Copy all classes' accounts of the current process. */
static __always_inline void merge_all(const struct hk_process_key *key, const struct hk_process *process)
{
    struct account_source source = {
        .process = *key,
        .address = process->account,
        .generation = process->generation,
    };
    if (source.address != 0)
        bpf_loop(HK_ACCOUNT_CLASSES, merge_local, &source, 0);
}

#endif
