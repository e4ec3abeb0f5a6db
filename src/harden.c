/* harden.c - see harden.h. */
#include "harden.h"

#include "canary.h"
#include "chance.h"
#include "heap.h"
#include "os.h"
#include "quarantine.h"
#include "size_class.h"
#include "slab.h"

#define TICK_CHANCES 64u /* one of so many allocations looks whether something is due */

/* Not live. A block whose word was overwritten after its free is known by where it lies. */
static HK_COLD _Noreturn void stop(const void *ptr, size_t block_size, enum canary_state state, enum misuse_kind twice)
{
    size_t size;
    if (state == CANARY_BROKEN) /* or another thread was just wiping it */
        state = canary_read(ptr, block_size, &size);
    struct heap_place place = heap_find(ptr);
    bool cached = place.slab != NULL && place.slab->class_idx < HK_CACHED_CLASSES;
    bool is_free = state == CANARY_FREED || quarantine_holds(ptr) || (cached && slab_block_is_free(place.slab, ptr));
    misuse_abort(is_free ? twice : MISUSE_OVERFLOW, ptr, block_size);
}

void *harden_hand_out(unsigned class_idx, void *block, size_t size)
{
    size_t block_size = hk_class_size[class_idx];
    if (hk_unlikely(!canary_is_zero(block, block_size)))
        misuse_abort(MISUSE_WRITE_AFTER_FREE, block, block_size);
    canary_seal(block, block_size, size);
    if (chance_next() % TICK_CHANCES == 0)
        heap_tick(os_now_ms());
    return block;
}

void harden_take_back(unsigned class_idx, void *block)
{
    enum canary_state state = canary_wipe(block, hk_class_size[class_idx]);
    if (hk_unlikely(state != CANARY_LIVE))
        stop(block, hk_class_size[class_idx], state, MISUSE_DOUBLE_FREE);
    quarantine_put(class_idx, block);
}

size_t harden_size(const void *ptr, size_t block_size, enum misuse_kind twice)
{
    size_t size = 0;
    enum canary_state state = canary_read(ptr, block_size, &size);
    if (hk_unlikely(state != CANARY_LIVE))
        stop(ptr, block_size, state, twice);
    return size;
}
