/* remap.h - a mapping made longer as ACE does it: where it lies, or else by a move. errno kept, but where it is NULL. */
#ifndef HK_TESTS_REMAP_H
#define HK_TESTS_REMAP_H

#include <errno.h>

#include "../../src/os.h"

static inline void *remap(void *ptr, size_t old_len, size_t new_len, size_t align)
{
    int saved = errno;
    if (os_grow(ptr, old_len, new_len))
        return ptr;
    void *target = os_target(new_len, align);
    if (target == NULL || !os_move(ptr, old_len, target, new_len))
        return NULL;
    errno = saved;
    return target;
}

#endif
