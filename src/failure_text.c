/* failure_text.c - see failure_text.h. */
#include "failure_text.h"

#include <errno.h>

#include "os_format.h"
#include "size_class.h"

static const char *errno_name(int error)
{
    switch (error) {
    case ENOMEM:
        return "ENOMEM";
    case EAGAIN:
        return "EAGAIN";
    case EINVAL:
        return "EINVAL";
    case EPERM:
        return "EPERM";
    default:
        return "";
    }
}

struct failure_text failure_errno(int error)
{
    struct failure_text text = {""};
    if (error != 0)
        os_format(text.chars, sizeof text.chars, ", errno %d %s", error, errno_name(error));
    return text;
}

struct failure_text failure_class(unsigned class_idx)
{
    struct failure_text name = {"huge"};
    size_t size = class_idx < HK_CLASS_HUGE ? hk_class_size[class_idx] : 0;
    if (size == 0)
        return name;
    if (size % ((size_t)1 << 20) == 0)
        os_format(name.chars, sizeof name.chars, "%zu MiB", size >> 20);
    else if (size % 1024 == 0)
        os_format(name.chars, sizeof name.chars, "%zu KiB", size >> 10);
    else
        os_format(name.chars, sizeof name.chars, "%zu B", size);
    return name;
}

const char *failure_limit(unsigned limit)
{
    static const char *const names[] = {"none", "RLIMIT_AS", "RLIMIT_DATA", "max_map_count", "overcommit", "unknown"};
    _Static_assert(sizeof names / sizeof names[0] == OS_LIMIT_UNKNOWN + 1, "a name for each limit");
    return names[limit < OS_LIMIT_UNKNOWN ? limit : OS_LIMIT_UNKNOWN];
}

const char *failure_reason(unsigned reason)
{
    static const char *const names[HK_SHARED_FAILS] = {"cap", "region", "kernel"};
    return reason < HK_SHARED_FAILS ? names[reason] : "unknown";
}
