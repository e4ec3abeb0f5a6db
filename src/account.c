/* account.c - the account's memory, and the process's generations. */
#include "account.h"

#include <string.h>

#include "os.h"

struct hk_process_account hk_account __attribute__((used, aligned(HK_ACCOUNT_ALIGN)));

#ifndef HK_NO_PROBES
/* A note tells where the account is, so that a process that has told nothing yet can be read: owner "hakmem", type 3, the
 * address as the file has it. Like the probes' notes it is not loaded. */
__asm__(".pushsection .note.hakmem,\"\",%note\n"
        " .balign 4\n"
        " .4byte 7, 8, 3\n"
        " .asciz \"hakmem\"\n"
        " .balign 4\n"
        " .8byte hk_account\n"
        ".popsection\n");
#endif

static uint64_t generation; /* any; 0 before account_init() */

/* The generation is the time it began: in one process none is met twice, and a reader can order them. */
static void begin_generation(void)
{
    uint64_t now = os_now_ns(), last = atomic_load_relaxed(&generation);
    atomic_store_relaxed(&generation, now > last ? now : last + 1);
}

static void write_header(struct hk_class_account *account, unsigned class_idx)
{
    account->version = HK_ACCOUNT_VERSION;
    account->length = sizeof *account;
    account->class_idx = class_idx;
    account->block_size = hk_class_size[class_idx];
    atomic_store_relaxed(&account->generation, generation);
}

void account_init(void)
{
    hk_account.os = &os_account;
    begin_generation();
    for (unsigned c = 0; c < HK_ACCOUNT_CLASSES; c++)
        write_header(&hk_account.classes[c], c);
}

/* Another thread's frees may be in the account before its allocations are: differences are taken modulo 2^64, and come out
 * right once both are in. */
static void inherit(struct hk_class_account *account, unsigned class_idx)
{
    const struct hk_class_account parent = *account;
    memset(account, 0, sizeof *account);
    write_header(account, class_idx);
    account->inherited = parent.inherited + parent.allocs - parent.frees;
    account->inherited_bytes = parent.inherited_bytes + parent.alloc_bytes - parent.free_bytes;
    account->cap_blocks = parent.cap_blocks;
    account->cached_blocks = parent.cached_blocks;
    account->slabs = parent.slabs;
    account->slab_blocks = parent.slab_blocks;
}

void account_new_generation(void)
{
    begin_generation();
    for (unsigned c = 0; c < HK_ACCOUNT_CLASSES; c++)
        inherit(&hk_account.classes[c], c);
    os_account.mapped_peak = os_account.mapped;
    os_account.purged = 0;
    os_account.map_calls = os_account.unmap_calls = os_account.purge_calls = os_account.failed_calls = 0;
    hk_account.capacity.superslabs_peak = hk_account.capacity.superslabs;
}

uint64_t account_generation(void)
{
    return atomic_load_relaxed(&generation);
}
