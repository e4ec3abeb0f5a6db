/* trace.h - call stacks of the own thread, taken and written without allocating. */
#ifndef HK_TRACE_H
#define HK_TRACE_H

#include "base.h"

#define TRACE_FRAMES 24u

struct trace {
    uint32_t depth;              /* 0: not taken */
    uint32_t tid;                /* of the thread */
    bool at_fault;               /* the first address is that of an instruction, not of what follows a call */
    uintptr_t pcs[TRACE_FRAMES]; /* from the inside out */
};

/* The calling thread's stack from `first` outwards, where first is an address on it as __builtin_return_address() gives it, or the
 * one that a fault interrupted (at_fault); the innermost frames when it is not there. Unwinds by .eh_frame (libgcc's, linked in).
 * In a program linked with -static at fixed addresses `first` is all there is.
 * Async-signal-safe with glibc 2.35 and later, whose _dl_find_object() takes no lock; before, not while libraries are loaded. */
HK_HIDDEN void trace_take(struct trace *trace, uintptr_t first, bool at_fault);

/* Write it to a descriptor, a line a frame, with the symbol and the file that dladdr(3) knows; from the first frame on that
 * is not of this library. */
HK_HIDDEN void trace_write(int fd, const struct trace *trace);

#endif
