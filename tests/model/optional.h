/* optional.h - the allocator's functions that libc and the headers may lack: NULL where nobody has them. */
#ifndef MODEL_OPTIONAL_H
#define MODEL_OPTIONAL_H

#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

/* of(NAME, SYMBOL, RETURNS, (ARGUMENTS)). C++'s operators by their names in the Itanium ABI; nothrow is a reference. */
#define EACH_OPTIONAL(of)                                                                                             \
    of(cfree, "cfree", void, (void *)) of(reallocf, "reallocf", void *, (void *, size_t))                             \
        of(free_sized, "free_sized", void, (void *, size_t)) of(free_aligned_sized, "free_aligned_sized", void,       \
                                                                (void *, size_t, size_t))                             \
            of(mallocx, "mallocx", void *, (size_t, int)) of(rallocx, "rallocx", void *, (void *, size_t, int))       \
                of(xallocx, "xallocx", size_t, (void *, size_t, size_t, int)) of(                                     \
                    sallocx, "sallocx", size_t, (const void *, int)) of(nallocx, "nallocx", size_t, (size_t, int))    \
                    of(dallocx, "dallocx", void, (void *, int)) of(sdallocx, "sdallocx", void, (void *, size_t, int)) \
                        of(hk_trim, "hk_trim", size_t, (void)) of(hk_stats, "hk_stats", int, (void *, size_t))        \
                            of(hk_class_stats, "hk_class_stats", int, (unsigned, void *, size_t))                     \
                                of(new, "_Znwm", void *, (size_t)) of(new_nothrow, "_ZnwmRKSt9nothrow_t", void *,     \
                                                                      (size_t, const void *))                         \
                                    of(new_aligned, "_ZnwmSt11align_val_t", void *,                                   \
                                       (size_t, size_t)) of(new_array, "_Znam", void *, (size_t))                     \
                                        of(new_array_aligned_nothrow, "_ZnamSt11align_val_tRKSt9nothrow_t", void *,   \
                                           (size_t, size_t, const void *)) of(delete, "_ZdlPv", void, (void *))       \
                                            of(delete_sized, "_ZdlPvm", void, (void *, size_t))                       \
                                                of(delete_aligned, "_ZdlPvmSt11align_val_t", void,                    \
                                                   (void *, size_t, size_t))                                          \
                                                    of(delete_array, "_ZdaPv", void, (void *))                        \
                                                        of(delete_array_sized, "_ZdaPvm", void, (void *, size_t))     \
                                                            of(delete_array_aligned, "_ZdaPvSt11align_val_t", void,   \
                                                               (void *, size_t))
#define POINTER(name, symbol, returns, arguments) static returns(*maybe_##name) arguments;
EACH_OPTIONAL(POINTER)
#define LOOK_UP(name, symbol, returns, arguments) *(void **)&maybe_##name = dlsym(RTLD_DEFAULT, symbol);
static inline void find_functions(void)
{
    EACH_OPTIONAL(LOOK_UP)
}

#endif
