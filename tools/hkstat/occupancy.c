#include "occupancy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address_space.h"
#include "memory.h"
#include "process.h"
#include "src/superslab.h"

/* That the library's layout is the one compiled in here is checked against what each SuperSlab says of itself. Only what lies
 * before the bitmaps is read. */
#define HEAD_SIZE offsetof(struct superslab, bits)
#define MOST_INDEX ((uint64_t)1 << 26) /* SuperSlabs in the largest region: 128 TiB */
#define MOST_WRONG 256u                /* that went away while they were read, or were never there */

_Static_assert(OCCUPANCY_ERROR_SIZE == ADDRESS_SPACE_ERROR_SIZE, "one text for both");

void occupancy_tell(const struct superslab *head, struct occupancy_superslab *out)
{
    for (unsigned unit = 0; unit < HK_UNITS_PER_SUPERSLAB; unit++) {
        struct occupancy_unit *to = &out->units[unit];
        unsigned first = superslab_first_unit(head->run_units, unit);
        const struct slab *run = &head->runs[first < HK_UNITS_PER_SUPERSLAB ? first : unit];
        if (head->free_units >> unit & 1) {
            to->state = head->dirty_units >> unit & 1 ? UNIT_DIRTY : UNIT_FREE;
        } else if (run->class_idx >= HK_CACHED_CLASSES) {
            to->state = UNIT_LARGE;
        } else {
            to->state = UNIT_SLAB;
            if (run->blocks != 0 && run->nfree <= run->blocks)
                to->fill = (uint8_t)((run->blocks - run->nfree) * 100u / run->blocks);
        }
    }
}

/* Read one SuperSlab's head. False: it is gone, or isn't one. */
static bool read_superslab(const struct address_space *space, uint64_t at, uint64_t base,
                           struct occupancy_superslab *out)
{
    static union {
        struct superslab superslab;
        char bytes[HEAD_SIZE];
    } head;
    if (!address_space_read(space, at, &head, HEAD_SIZE) || (uint64_t)(uintptr_t)head.superslab.base != base)
        return false;
    out->base = base;
    occupancy_tell(&head.superslab, out);
    return true;
}

/* Go through the table of SuperSlabs, by index in the region. */
static bool read_region(const struct address_space *space, const struct hk_region_account *region,
                        struct occupancy *occupancy)
{
    uint64_t entries[512], superslabs = region->units / HK_UNITS_PER_SUPERSLAB;
    uint64_t most = superslabs < MOST_INDEX ? superslabs : MOST_INDEX;
    size_t wrong = 0;
    unsigned empty_in_a_row = 0;
    for (uint64_t idx = 0; idx < most && empty_in_a_row < OCCUPANCY_MOST && wrong < MOST_WRONG && !occupancy->more;
         idx++) {
        size_t within = idx % 512, left = most - idx < 512 ? most - idx : 512;
        if (within == 0 &&
            !address_space_read(space, region->superslabs + idx * sizeof entries[0], entries, left * sizeof entries[0]))
            return occupancy->count != 0;
        if (entries[within] == 0) {
            empty_in_a_row++;
            continue;
        }
        empty_in_a_row = 0;
        if (occupancy->count == OCCUPANCY_MOST)
            occupancy->more = true;
        else if (read_superslab(space, entries[within], region->base + (idx << HK_SUPERSLAB_SHIFT),
                                &occupancy->superslabs[occupancy->count]))
            occupancy->count++;
        else
            wrong++;
    }
    return wrong < MOST_WRONG && wrong <= occupancy->count;
}

/* Of a process whose memory may be read. */
static bool read_process(const struct address_space *space, const struct hk_process *process,
                         struct occupancy *occupancy, char *error)
{
    struct hk_region_account region;
    if (!address_space_read(space, process->account + offsetof(struct hk_process_account, region), &region,
                            sizeof region)) {
        snprintf(error, OCCUPANCY_ERROR_SIZE,
                 "may not read the process's memory (%s): it needs the process's own user, or CAP_SYS_PTRACE",
                 strerror(errno));
        return false;
    }
    occupancy->superslabs = grow(NULL, OCCUPANCY_MOST, sizeof *occupancy->superslabs);
    if (region.base == 0 || read_region(space, &region, occupancy))
        return true;
    snprintf(error, OCCUPANCY_ERROR_SIZE,
             "the process's library lays out its SuperSlabs in another way than this hkstat knows");
    occupancy_free(occupancy);
    return false;
}

bool occupancy_read(const struct hk_process *process, struct occupancy *occupancy, char *error)
{
    pid_t pid = (pid_t)process->key.pid;
    uint64_t began;
    *occupancy = (struct occupancy){0};
    if (process->account == 0) {
        snprintf(error, OCCUPANCY_ERROR_SIZE, "the process has not told yet where its account is");
        return false;
    }
    if (!process_start_time(pid, &began) || began / 1000000000 != process->key.start_time / 1000000000) {
        snprintf(error, OCCUPANCY_ERROR_SIZE,
                 "there is no such process here: it has ended, or is of another pid namespace");
        return false;
    }
    struct address_space *space = address_space_of_process(pid, false, error);
    bool is_read = space != NULL && read_process(space, process, occupancy, error);
    address_space_free(space);
    return is_read;
}

void occupancy_free(struct occupancy *occupancy)
{
    free(occupancy->superslabs);
    *occupancy = (struct occupancy){0};
}
