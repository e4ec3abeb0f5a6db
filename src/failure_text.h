/* failure_text.h - failures in words: for HAKMEM_ACE_TRACE and for the report of what ran out. */
#ifndef HK_FAILURE_TEXT_H
#define HK_FAILURE_TEXT_H

#include "account.h"
#include "os.h"

struct failure_text {
    char chars[32];
};

/* "48 B", "9 KiB", "huge". */
HK_HIDDEN struct failure_text failure_class(unsigned class_idx);

/* ", errno 12 ENOMEM"; empty for 0. */
HK_HIDDEN struct failure_text failure_errno(int error);

/* "RLIMIT_AS". Any number. */
HK_HIDDEN const char *failure_limit(unsigned limit);

/* "cap". Any number. */
HK_HIDDEN const char *failure_reason(unsigned reason);

#endif
