/* fire_all.c - fires every probe of the table once for each call of fire_all(), with arguments that name their place:
 * argument i of probe p (both from 1) is p * 256 + i, and negative if it is signed. For checks of builds and of tracers. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "probe.h"

enum place {
    PLACE_NONE,
#define HK_PROBE(name, n, args, text) PLACE_##name,
#include "hakmem_probes.def"
#undef HK_PROBE
};

static int64_t value(int place, int i, const char *names)
{
    int64_t v = place * 256 + i;
    const char *at = names + 1;
    for (int k = 1; k < i; k++)
        at = strchr(at, ',') + 2;
    return strncmp(at, "s_", 2) == 0 ? -v : v;
}

#define V(name, i, args) value(PLACE_##name, i, #args)
#define FIRE_0(name, args) HK_PROBE_FIRE(name)
#define FIRE_1(name, args) HK_PROBE_FIRE(name, V(name, 1, args))
#define FIRE_2(name, args) HK_PROBE_FIRE(name, V(name, 1, args), V(name, 2, args))
#define FIRE_3(name, args) HK_PROBE_FIRE(name, V(name, 1, args), V(name, 2, args), V(name, 3, args))
#define FIRE_4(name, args) HK_PROBE_FIRE(name, V(name, 1, args), V(name, 2, args), V(name, 3, args), V(name, 4, args))
#define FIRE_5(name, args) \
    HK_PROBE_FIRE(name, V(name, 1, args), V(name, 2, args), V(name, 3, args), V(name, 4, args), V(name, 5, args))
#define FIRE_6(name, args)                                                                                        \
    HK_PROBE_FIRE(name, V(name, 1, args), V(name, 2, args), V(name, 3, args), V(name, 4, args), V(name, 5, args), \
                  V(name, 6, args))

__attribute__((visibility("default"))) void fire_all(void);
void fire_all(void)
{
#define HK_PROBE(name, n, args, text) FIRE_##n(name, args);
#include "hakmem_probes.def"
#undef HK_PROBE
}
