/* guard_fault.h - SIGSEGV on a guarded page: told as the bug that it is, then handed to the program's own handler. */
#ifndef HK_GUARD_FAULT_H
#define HK_GUARD_FAULT_H

#include "guard.h"

/* The reservation, and its slots by unit; both 0 until there is one. any: written once. */
extern HK_HIDDEN uintptr_t guard_base;
extern HK_HIDDEN struct guard_slot *guard_slots;
#define GUARD_UNITS 513u /* the first has no slot, so that there is a guard in front of each */

/* See that SIGSEGV comes here first, whatever the program installed meanwhile. errno kept. */
HK_HIDDEN void guard_catch_faults(void);

/* Abort with a report of ptr, which points into the slot: the stacks of the block's allocation, of its free if it was freed, and of the
 * caller. */
HK_HIDDEN HK_COLD _Noreturn void guard_abort(const struct guard_slot *slot, enum misuse_kind kind, const void *ptr,
                                             const void *caller);

#endif
