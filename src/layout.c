/* layout.c - see layout.h. */
#include "layout.h"

#include "chain.h"

void layout_init(void)
{
    hk_account.layout = (struct hk_layout){
        .version = HK_LAYOUT_VERSION,
        .length = sizeof hk_account.layout,
        .digest = layout_digest(),
        .secret = (uintptr_t)&hk_secret,
        .threads = (uintptr_t)&hk_threads,
        .outer_root = (uintptr_t)outer_root,
        .meta_chunks = (uintptr_t)&meta_chunks,
        .guard_base = (uintptr_t)&guard_base,
        .guard_slots = (uintptr_t)&guard_slots,
        .quarantine = (uintptr_t)quarantine_shards,
        .failures = (uintptr_t)&hk_recorder,
        .fork_token = (uintptr_t)thread_fork_token,
    };
}
