/* misuse.h - the one exit for a caller's bug: one line by write(2), the misuse probe, SIGABRT. */
#ifndef HK_MISUSE_H
#define HK_MISUSE_H

#include "base.h"

enum misuse_kind {
#define HK_MISUSE(name, text) MISUSE_##name,
#include "misuse.def"
#undef HK_MISUSE
    MISUSE_KINDS
};

/* `size`: of the block concerned in bytes, 0 when unknown. Never returns. Async-signal-safe. */
HK_HIDDEN HK_COLD _Noreturn void misuse_abort(enum misuse_kind kind, const void *ptr, size_t size);

/* The same; between the line and SIGABRT, tell(arg) writes what more is known. */
HK_HIDDEN HK_COLD _Noreturn void misuse_abort_telling(enum misuse_kind kind, const void *ptr, size_t size,
                                                      void (*tell)(void *arg), void *arg);

#endif
