/* targets.h - what a collection is attached to: entries of the map `targets`, and their links in DIR/links/NUMBER. */
#ifndef HKSTAT_TARGETS_H
#define HKSTAT_TARGETS_H

#include <stdbool.h>
#include <sys/types.h>

#include "collection.h"
#include "library.h"

/* The default set: every probe that costs nothing to speak of. The others fire with every miss, drain, slab or thread, and
 * what they tell is in the accounts too. */
#define TARGETS_DEFAULT_PROBES                                                                                  \
    (TARGETS_ALL_PROBES & ~(TARGETS_PROBE(fast_miss) | TARGETS_PROBE(tls_drain) | TARGETS_PROBE(slab_acquire) | \
                            TARGETS_PROBE(slab_release) | TARGETS_PROBE(thread_start) | TARGETS_PROBE(thread_exit)))
/* Watching guard_alloc switches guard pages on in the process: it has to be named. */
#define TARGETS_ALL_PROBES (((UINT64_C(1) << HK_PROBE_COUNT) - 1) & ~TARGETS_PROBE(guard_alloc))
#define TARGETS_PROBE(name) (UINT64_C(1) << HK_PROBE_IDX_##name)

/* Names of the probes by enum hk_probe_idx. */
extern const char *const probe_names[HK_PROBE_COUNT];

/* Attach `probes` of a library, in one process or, if pid is 0, in all; *number becomes the new target's. What is attached
 * already stays as it is, and *number is 0 if there was nothing to add. An attach to all takes the place of those to single
 * processes. False: a message was written, and nothing of this target is left. */
bool targets_attach(const struct collection *collection, const struct library *library, pid_t pid, uint64_t probes,
                    uint32_t *number);

/* End and remove a target. False: a message was written. */
bool targets_remove(const struct collection *collection, uint32_t number);

/* Remove targets whose process has ended. */
void targets_prune(const struct collection *collection);

/* Whether the target's process, if it has one, is still alive. */
bool target_is_alive(const struct hk_target *target);

#endif
