/* compile_use.c - what HK_PROBE_FIRE must take and what it must not, by -D: see probes_static.bats. */
#include "probe.h"

int unused_but_for_probes(const char *text, int number, size_t size);
int unused_but_for_probes(const char *text, int number, size_t size)
{
    int set_for_the_probe_alone = number * 2;
    void *ptr = (void *)(uintptr_t)text;
    if (HK_PROBE_ON(slab_acquire))
        set_for_the_probe_alone++;
    HK_PROBE_FIRE(slab_acquire, number, ptr, set_for_the_probe_alone, text);
    if (number == 3)
        HK_PROBE_FIRE(misuse, true, (uint8_t)number, (int64_t)-size);
    else
        HK_PROBE_FIRE(superslab_map, text, size);
#ifdef TOO_FEW
    HK_PROBE_FIRE(superslab_map, text);
#endif
#ifdef NONE
    HK_PROBE_FIRE(superslab_map);
#endif
#ifdef TOO_MANY
    HK_PROBE_FIRE(superslab_map, text, size, 1);
#endif
#ifdef SEVEN
    HK_PROBE_FIRE(fast_miss, 1, 2, 3, 4, 5, 6, 7);
#endif
#ifdef UNKNOWN
    HK_PROBE_FIRE(no_such_probe, 1);
#endif
#ifdef STRUCTURE
    struct pair {
        int a, b;
    } pair = {1, 2};
    HK_PROBE_FIRE(superslab_map, pair, size);
#endif
    int evaluated = 0;
    HK_PROBE_FIRE(superslab_map, evaluated++, size);
    return evaluated;
}
