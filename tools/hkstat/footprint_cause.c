#include <inttypes.h>
#include <stdio.h>

#include "footprint.h"
#include "size_text.h"

#define BYTES(n) size_text(n).text

/* The class whose slabs hold the most memory that is not live. */
static const struct footprint_class *most_fragmented(const struct footprint *footprint, uint64_t *excess)
{
    const struct footprint_class *most = NULL;
    *excess = 0;
    for (unsigned c = 0; c < HK_CACHED_CLASSES; c++) {
        const struct footprint_class *class = &footprint->classes[c];
        uint64_t live = class->live * class->block_size;
        if (class->resident > live && class->resident - live > *excess) {
            *excess = class->resident - live;
            most = class;
        }
    }
    return most;
}

static const struct footprint_thread *fullest(const struct footprint *footprint)
{
    const struct footprint_thread *most = NULL;
    for (size_t i = 0; i < footprint->thread_count; i++)
        if (most == NULL || footprint->threads[i].bytes > most->bytes)
            most = &footprint->threads[i];
    return most;
}

static void tell_slabs(const struct footprint *footprint, char *text, size_t size)
{
    uint64_t excess;
    const struct footprint_class *class = most_fragmented(footprint, &excess);
    if (class == NULL) {
        snprintf(text, size, "They lie between live blocks.");
        return;
    }
    snprintf(text, size,
             "Fragmentation: a slab can't be given back while one of its blocks is in use. Of the class of %" PRIu64
             " bytes %" PRIu64 " of %" PRIu64
             " slabs are at most a quarter in use: %s live in %s. malloc_trim(0) gives back "
             "the pages between, %s in all; what was allocated together and lives on apart keeps the rest.",
             class->block_size, class->sparse_slabs, class->slabs, BYTES(class->live * class->block_size),
             BYTES(class->resident), BYTES(footprint->trim_bytes));
}

static void tell(const struct footprint *footprint, enum footprint_row row, char *text, size_t size)
{
    const struct footprint_thread *thread;
    switch (row) {
    case FOOTPRINT_slab_free:
        tell_slabs(footprint, text, size);
        break;
    case FOOTPRINT_thread_caches:
        thread = fullest(footprint);
        snprintf(text, size,
                 "Caches of %zu threads, the fullest that of thread %" PRIu32
                 " with %s. A thread that sleeps keeps its cache until it works again or ends; `cache` in HAKMEM_CONF "
                 "bounds "
                 "each.",
                 footprint->thread_count, thread != NULL ? thread->tid : 0, BYTES(thread != NULL ? thread->bytes : 0));
        break;
    case FOOTPRINT_chains:
    case FOOTPRINT_slab_empty:
    case FOOTPRINT_units:
    case FOOTPRINT_cached_large:
    case FOOTPRINT_cached_huge:
        snprintf(
            text, size,
            "Freed memory that waits for the next burst. It goes back when it has waited for decay_ms and some thread "
            "allocates or frees; a process that does neither keeps it. malloc_trim(0) gives back %s at once.",
            BYTES(footprint->trim_bytes));
        break;
    case FOOTPRINT_quarantine:
        snprintf(text, size, "Hardened mode delays reuse.");
        break;
    default:
        text[0] = '\0';
    }
}

void footprint_cause(const struct footprint *footprint, char *text, size_t size)
{
    uint64_t all = footprint_allocator(footprint), live = footprint_of(footprint, FOOTPRINT_LIVE),
             kept = footprint_of(footprint, FOOTPRINT_KEPT), other = footprint_of(footprint, FOOTPRINT_OTHER);
    enum footprint_row most = FOOTPRINT_slab_free;
    char detail[640];
    if (all < other && kept < other / 8) {
        snprintf(text, size, "Most of what is resident, %s, is not the allocator's.", BYTES(other));
        return;
    }
    if (kept < all / 4) {
        snprintf(text, size,
                 "Most of what the allocator holds, %s of %s, is live: what holds it is told by `hkheap -p`.",
                 BYTES(live), BYTES(all));
        return;
    }
    for (unsigned row = 0; row < FOOTPRINT_ROWS; row++)
        if (footprint_rows[row].whose == FOOTPRINT_KEPT && footprint->bytes[row] > footprint->bytes[most])
            most = (enum footprint_row)row;
    tell(footprint, most, detail, sizeof detail);
    snprintf(text, size, "The allocator holds %s for %s that are live, %s of it as %s. %s", BYTES(all), BYTES(live),
             BYTES(footprint->bytes[most]), footprint_rows[most].title, detail);
}
