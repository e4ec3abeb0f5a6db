/* occupancy.h - which SuperSlabs a process has, and how full their units are, read from its memory (ptrace rights). */
#ifndef HKSTAT_OCCUPANCY_H
#define HKSTAT_OCCUPANCY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/hakmem_maps.h"

#define OCCUPANCY_ERROR_SIZE 512
#define OCCUPANCY_MOST 4096u /* SuperSlabs that are looked at: 8 GiB */

enum unit_state {
    UNIT_FREE,  /* in no run */
    UNIT_DIRTY, /* in no run, but its pages may be resident */
    UNIT_SLAB,  /* of a slab */
    UNIT_LARGE, /* of a large block, or of one that ACE caches */
};

struct occupancy_unit {
    uint8_t state; /* enum unit_state */
    uint8_t fill;  /* of a slab: per cent of its blocks that are in use or in a cache */
};

struct occupancy_superslab {
    uint64_t base; /* address */
    struct occupancy_unit units[HK_UNITS_PER_SUPERSLAB];
};

struct occupancy {
    struct occupancy_superslab *superslabs; /* in order of address */
    size_t count;
    bool more; /* than OCCUPANCY_MOST */
};

/* What a SuperSlab's head says of its units; `base` is left alone. */
struct superslab;
void occupancy_tell(const struct superslab *head, struct occupancy_superslab *out);

/* Read it, of the process as the maps told it. The process runs on meanwhile: units may be a moment apart. False: `error`, of
 * OCCUPANCY_ERROR_SIZE bytes, says why not. Whatever the process has in its memory, nothing goes out of bounds. */
bool occupancy_read(const struct hk_process *process, struct occupancy *occupancy, char *error);

void occupancy_free(struct occupancy *occupancy);

#endif
