/* ace_cap.c - see ace_cap.h for the formula. */
#include "ace_cap.h"

uint32_t ace_cap_most(size_t block_bytes)
{
    size_t most = ACE_CAP_BYTES / block_bytes;
    return most > ACE_CAP_START ? (uint32_t)most : ACE_CAP_START;
}

void ace_cap_init(struct ace_cap *cap)
{
    *cap = (struct ace_cap){.cap = ACE_CAP_START};
}

struct ace_cap_move ace_cap_adapt(struct ace_cap *cap, uint32_t waiting, uint32_t most, uint32_t target)
{
    struct ace_cap_move move = {.from = cap->cap, .to = cap->cap, .hit_rate = 100};
    if (cap->requests != 0)
        move.hit_rate = (uint32_t)(UINT64_C(100) * (cap->requests - cap->misses) / cap->requests);
    cap->requests = cap->misses = 0;
    bool epoch_ends = ++cap->windows >= ACE_EPOCH;
    if (move.hit_rate < target)
        move.to = cap->cap + cap->cap / 2 + 1;
    else if (epoch_ends)
        move.to = cap->peak - (cap->low + 1) / 2;
    if (move.to > most)
        move.to = most;
    cap->cap = move.to;
    if (epoch_ends) {
        cap->windows = 0;
        cap->low = cap->peak = waiting < move.to ? waiting : move.to;
    }
    return move;
}
