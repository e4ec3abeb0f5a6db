#include "output.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

const char *const order_names[] = {"live", "allocated", "growth"};

void frame_name(const struct frame *frame, bool with_offset, char *out)
{
    if (frame->function == NULL)
        snprintf(out, FRAME_NAME_SIZE, "0x%" PRIx64 "%s%s", frame->address, frame->file[0] != '\0' ? " " : "",
                 frame->file);
    else if (with_offset && frame->offset != 0)
        snprintf(out, FRAME_NAME_SIZE, "%s+0x%" PRIx64 "%s%s", frame->function, frame->offset,
                 frame->file[0] != '\0' ? " " : "", frame->file);
    else
        snprintf(out, FRAME_NAME_SIZE, "%s", frame->function);
}

/* "12.3 MiB" */
static const char *bytes_text(double bytes, char text[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    unsigned unit = 0;
    for (; fabs(bytes) >= 1024 && unit < 4; unit++)
        bytes /= 1024;
    snprintf(text, 32, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
    return text;
}

static const char *time_text(unsigned bucket, char text[32])
{
    double microseconds = ldexp(1, (int)bucket);
    if (microseconds < 1000)
        snprintf(text, 32, "%.0f us", microseconds);
    else if (microseconds < 1e6)
        snprintf(text, 32, "%.0f ms", microseconds / 1e3);
    else
        snprintf(text, 32, "%.0f s", microseconds / 1e6);
    return text;
}

static void put_lifetimes(FILE *out, const struct site *site)
{
    double most = 0, all = 0;
    unsigned first = PROFILE_LIFETIMES, last = 0;
    char from[32], to[32];
    for (unsigned b = 0; b < PROFILE_LIFETIMES; b++) {
        all += site->lifetimes[b];
        if (site->lifetimes[b] > most)
            most = site->lifetimes[b];
        if (site->lifetimes[b] > 0) {
            first = b < first ? b : first;
            last = b;
        }
    }
    if (all <= 0)
        return;
    fprintf(out, "    lived %s to %s: ", time_text(first, from), time_text(last + 1, to));
    for (unsigned b = first; b <= last; b++)
        fputc(" .:-=+*#%@"[(int)ceil(site->lifetimes[b] / most * 9)], out);
    fputc('\n', out);
}

static void put_site(FILE *out, const struct site *site, enum profile_order order, double total)
{
    char live[32], allocated[32], growth[32], name[FRAME_NAME_SIZE];
    double bytes = profile_bytes(site, order);
    fprintf(out, "%5.1f %%  live %s in %.0f blocks, allocated %s in %.0f", total > 0 ? bytes / total * 100 : 0,
            bytes_text(site->live.bytes, live), site->live.blocks, bytes_text(site->allocated.bytes, allocated),
            site->allocated.blocks);
    if (order == BY_GROWTH)
        fprintf(out, ", growth %s", bytes_text(bytes, growth));
    fputc('\n', out);
    for (unsigned i = 0; i < site->depth; i++) {
        frame_name(&site->frames[i], true, name);
        fprintf(out, "    %s\n", name);
    }
    put_lifetimes(out, site);
}

void output_text(FILE *out, const struct profile *profile, enum profile_order order, size_t top)
{
    char live[32], allocated[32], growth[32], slack[32];
    struct amount all_live = profile_total(profile, BY_LIVE), all_allocated = profile_total(profile, BY_ALLOCATED),
                  all_growth = profile_total(profile, BY_GROWTH);
    fprintf(out, "process %" PRIu64 " (%s), %.1f s: live %s in %.0f blocks, allocated %s in %.0f", profile->pid,
            profile->command, profile->seconds, bytes_text(all_live.bytes, live), all_live.blocks,
            bytes_text(all_allocated.bytes, allocated), all_allocated.blocks);
    if (order == BY_GROWTH)
        fprintf(out, ", growth %s", bytes_text(all_growth.bytes, growth));
    fprintf(out, "; estimates from samples, of what was allocated since the attach\n");
    if (all_live.bytes > 0)
        fprintf(out, "the blocks' classes add %s of slack to it\n", bytes_text(profile_slack(profile), slack));
    if (profile->knows_armed)
        fprintf(out, "%" PRIu64 " of %" PRIu64 " caches were armed\n", profile->armed, profile->caches);
    if (profile->partial)
        fprintf(out, "PARTIAL: %s\n", profile->why_partial);
    if (profile->thinned != 0)
        fprintf(out, "%" PRIu64 " samples were left out, others weigh the more\n", profile->thinned);
    if (profile->unwound_short != 0)
        fprintf(out, "%" PRIu64 " stacks could not be followed to their end\n", profile->unwound_short);
    double total = profile_total(profile, order).bytes;
    size_t shown = 0;
    for (; shown < profile->site_count && (top == 0 || shown < top); shown++) {
        if (fabs(profile_bytes(profile->sites[shown], order)) < 0.5)
            break;
        fputc('\n', out);
        put_site(out, profile->sites[shown], order, total);
    }
    if (shown == top && shown < profile->site_count)
        fprintf(out, "\n%zu more stacks: --top tells how many are shown\n", profile->site_count - shown);
}

void output_folded(FILE *out, const struct profile *profile, enum profile_order order)
{
    char name[FRAME_NAME_SIZE];
    for (size_t s = 0; s < profile->site_count; s++) {
        const struct site *site = profile->sites[s];
        double bytes = profile_bytes(site, order);
        if (bytes < 0.5)
            continue;
        for (unsigned i = site->depth; i-- > 0;) {
            frame_name(&site->frames[i], false, name);
            for (char *c = name; *c != '\0'; c++)
                if (*c == ';')
                    *c = ':';
            fprintf(out, "%s%s", name, i > 0 ? ";" : "");
        }
        fprintf(out, " %.0f\n", bytes);
    }
}
