/* callers.h - callers whose allocations failed, by their stacks, as `attach --stacks` keeps them. */
#ifndef HKSTAT_CALLERS_H
#define HKSTAT_CALLERS_H

#include <stdbool.h>
#include <stddef.h>

#include "bpf/hakmem_maps.h"
#include "symbols.h"

#define CALLERS_ERROR_SIZE 512

struct caller {
    struct hk_stack_key key;
    struct hk_stack stack;
};

struct callers {
    struct caller *list; /* by process; the most frequent first */
    size_t count;
};

/* Read them from the pins; of one process, or of all if NULL. False: `error`, of CALLERS_ERROR_SIZE bytes, says why not. */
bool callers_read(const char *pin_dir, const struct hk_process_key *process, struct callers *callers, char *error);
void callers_free(struct callers *callers);

/* What failed: "ACE mapfail". */
void callers_failure(const struct hk_stack_key *key, char *out, size_t size);

#endif
