/* unwind.h - the call stack of a sample, and the names in it: by libdw, from registers and a copy of the stack, by the call frame
 * information of the files that the process has mapped. The process is not stopped, and nothing but its stack's copy is of the moment. */
#ifndef HKHEAP_UNWIND_H
#define HKHEAP_UNWIND_H

#include <stdbool.h>
#include <sys/types.h>

#include "bpf/heap_event.h"
#include "profile.h"

struct unwinder;

/* Of a process whose files may be read; NULL with a message where it may not. */
struct unwinder *unwinder_new(pid_t pid);
void unwinder_free(struct unwinder *unwinder);

/* The frames of the sample, the allocator's own left out, `most` at most. *whole: the stack was followed to its end. At least one. */
unsigned unwind(struct unwinder *unwinder, const struct hk_heap_alloc *sample, struct frame *frames, unsigned most,
                bool *whole);

#endif
