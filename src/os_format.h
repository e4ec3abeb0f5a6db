/* os_format.h - os_format() with its arguments in a list; for os_message() alone. */
#ifndef HK_OS_FORMAT_H
#define HK_OS_FORMAT_H

#include <stdarg.h>

#include "base.h"

HK_HIDDEN size_t os_format_va(char *buf, size_t size, const char *format, va_list list)
    __attribute__((format(printf, 3, 0)));

#endif
