#include <curses.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fields.h"
#include "panels.h"

static enum paint warn_if(uint64_t count)
{
    return count != 0 ? PAINT_BAD : PAINT_PLAIN;
}

/* "NAME N, NAME N": what of `counts` isn't 0. */
static const char *listed(char *out, size_t size, const uint64_t *counts, size_t length, const char *const *words)
{
    size_t filled = 0;
    out[0] = '\0';
    for (size_t i = 0; i < length; i++) {
        if (counts[i] != 0 && filled < size)
            filled += (size_t)snprintf(out + filled, size - filled, "%s%s %" PRIu64, filled != 0 ? ", " : "", words[i],
                                       counts[i]);
    }
    return out;
}

static void put_failures(struct lines *lines, const struct hk_failures *failures)
{
    char text[256];
    if (failures->count == 0)
        return;
    lines_put(lines, PAINT_PLAIN, "      since attach %" PRIu64 "; errno: %s", failures->count,
              listed(text, sizeof text, failures->by_errno, HK_ERRNO_KINDS, errno_words));
    if (tick_sum(failures->by_limit + 1, HK_LIMITS - 1) != 0)
        lines_put(lines, PAINT_PLAIN, "      limit: %s",
                  listed(text, sizeof text, failures->by_limit, HK_LIMITS, limit_words));
}

static void put_sizes(struct lines *lines, const uint64_t sizes[HK_SIZE_BUCKETS])
{
    size_t first = 0, last = 0;
    uint64_t most;
    if (!draw_range(sizes, HK_SIZE_BUCKETS, &first, &last, &most))
        return;
    for (size_t i = first; i <= last; i++) {
        char from[CELL_SIZE];
        print_bytes(from, ldexp(1, (int)i));
        int y = lines_put(lines, PAINT_PLAIN, "%14s B and more %8" PRIu64, from, sizes[i]);
        if (y >= 0)
            draw_bar(y, 40, COLS - 41, (double)sizes[i] / (double)most, PAINT_BAR);
    }
}

static void put_refills(struct lines *lines, const struct hk_totals *totals)
{
    const struct hk_class_account *account = &totals->account;
    char share[CELL_SIZE];
    lines_put(lines, PAINT_BOLD, "Refills, by who served them");
    for (size_t i = 0; i < HK_SERVERS; i++)
        lines_put(lines, PAINT_PLAIN, "  %-12s %14" PRIu64 "   blocks %14" PRIu64, server_words[i], account->refills[i],
                  account->refill_blocks[i]);
    print_percent(share, tick_superslab_hit_rate(account));
    lines_put(lines, PAINT_PLAIN, "  SuperSlab hit rate %s %%: chains and slabs that the class already held", share);
    lines_put(lines, PAINT_BOLD, "Drains, by reason");
    for (size_t i = 0; i < HK_DRAIN_REASONS; i++) {
        char bytes[CELL_SIZE];
        print_bytes(bytes, (double)totals->drain_bytes[i]);
        lines_put(lines, PAINT_PLAIN, "  %-12s %14" PRIu64 "   blocks %14" PRIu64 "   bytes %8s", drain_words[i],
                  account->drains[i], account->drain_blocks[i], bytes);
    }
}

static void put_all_failures(struct lines *lines, const struct hk_class_account *account,
                             const struct hk_events *events)
{
    lines_put(lines, PAINT_BOLD, "Shared pool could not deliver: legacy serves");
    for (size_t i = 0; i < HK_SHARED_FAILS; i++) {
        lines_put(lines, warn_if(account->shared_fails[i]), "  %-12s %14" PRIu64, shared_fail_words[i],
                  account->shared_fails[i]);
        put_failures(lines, &events->shared_fails[i]);
    }
    lines_put(lines, PAINT_PLAIN, "  legacy blocks: %" PRIu64 " allocated, %" PRIu64 " freed", account->legacy_allocs,
              account->legacy_frees);
    lines_put(lines, PAINT_BOLD, "ACE could not serve from a cache");
    for (size_t i = 0; i < HK_ACE_FAILS; i++) {
        enum paint paint = i == ACE_MAPFAIL ? warn_if(account->ace_fails[i]) : PAINT_PLAIN;
        lines_put(lines, paint, "  %-12s %14" PRIu64, ace_fail_words[i], account->ace_fails[i]);
        put_failures(lines, &events->ace_fails[i]);
        put_sizes(lines, events->ace_fail_sizes[i]);
    }
    lines_put(lines, PAINT_PLAIN, "  caps raised %" PRIu64 ", lowered %" PRIu64 " since attach", events->caps_raised,
              events->caps_lowered);
    lines_put(lines, PAINT_BOLD, "NULL was returned");
    lines_put(lines, warn_if(account->alloc_fails), "  %-12s %14" PRIu64, "all", account->alloc_fails);
    put_failures(lines, &events->alloc_fails);
    put_sizes(lines, events->alloc_fail_sizes);
}

static void put_traffic(struct lines *lines, const struct hk_events *events)
{
    lines_put(lines, PAINT_BOLD, "Memory to and from the kernel, since attach");
    for (size_t i = 0; i < HK_PURPOSES; i++) {
        const struct hk_traffic *traffic = &events->traffic[i];
        char mapped[CELL_SIZE], unmapped[CELL_SIZE];
        print_bytes(mapped, (double)traffic->map_bytes);
        print_bytes(unmapped, (double)traffic->unmap_bytes);
        lines_put(lines, PAINT_PLAIN, "  %-12s mapped %8" PRIu64 " times %8s, unmapped %8" PRIu64 " times %8s",
                  purpose_words[i], traffic->maps, mapped, traffic->unmaps, unmapped);
    }
}

static void put_levels(struct lines *lines, const struct hk_process *process)
{
    lines_put(lines, PAINT_BOLD, "Capacity, as the last event told");
    for (size_t i = 0; i < level_fields.count; i++) {
        const struct field *field = &level_fields.fields[i];
        uint64_t value;
        memcpy(&value, (const char *)process + field->offset, sizeof value);
        if (process->known & level_known[i])
            lines_put(lines, PAINT_PLAIN, "  %-18s %14" PRIu64, field->name, value);
        else
            lines_put(lines, PAINT_DIM, "  %-18s %14s", field->name, "not told yet");
    }
}

static void put_misuses(struct lines *lines, const struct hk_events *events)
{
    lines_put(lines, PAINT_BOLD, "Misuse, since attach");
    for (size_t i = 0; i < HK_MISUSES; i++) {
        if (events->misuses[i] != 0)
            lines_put(lines, PAINT_BAD, "  %-18s %14" PRIu64, misuse_words[i], events->misuses[i]);
    }
    if (tick_sum(events->misuses, HK_MISUSES) == 0)
        lines_put(lines, PAINT_PLAIN, "  none");
}

static void put_process(struct lines *lines, const void *what)
{
    const struct tick_process *process = what;
    put_refills(lines, &process->now);
    put_all_failures(lines, &process->now.account, &process->info.events);
    put_traffic(lines, &process->info.events);
    put_levels(lines, &process->info);
    put_misuses(lines, &process->info.events);
}

static void put_ended(struct lines *lines, const void *what)
{
    const struct tick_ended *ended = what;
    put_misuses(lines, &ended->sums.events);
    put_refills(lines, &ended->sums.totals);
    put_all_failures(lines, &ended->sums.totals.account, &ended->sums.events);
    put_traffic(lines, &ended->sums.events);
}

void panel_events(struct area area, const struct tick_process *process, size_t *offset)
{
    lines_scroll(area, offset, put_process, process);
}

void panel_ended(struct area area, const struct tick_ended *ended, size_t *offset)
{
    lines_scroll(area, offset, put_ended, ended);
}
