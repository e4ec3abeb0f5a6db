/* chance.c - see chance.h. A counter that goes up by an odd constant, its two halves of a product folded. */
#include "chance.h"

#include "os.h"

#define STEP UINT64_C(0x9e3779b97f4a7c15)
#define FOLD UINT64_C(0xd6e8feb86659fd93)

static HK_TLS uint64_t state; /* owner: 0: not seeded */

uint64_t chance_next(void)
{
    if (hk_unlikely(state == 0))
        state = os_random64();
    state += STEP;
    __extension__ unsigned __int128 product = (unsigned __int128)state * (state ^ FOLD);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

void chance_after_fork(void)
{
    state = 0;
}
