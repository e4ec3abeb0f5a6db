/* os_account.h - what the process has from the kernel. A reader from outside finds it through account.h. */
#ifndef HK_OS_ACCOUNT_H
#define HK_OS_ACCOUNT_H

#include "base.h"

/* Of what is read from outside: it shares no page with what the file has, so that no reader ever waits for a file. */
#define HK_ACCOUNT_ALIGN 4096

/* Bytes; any: read and written atomically. */
struct os_account {
    uint64_t reserved; /* address space that is PROT_NONE */
    uint64_t mapped;   /* readable and writable, whether resident or not */
    uint64_t mapped_peak;
    uint64_t meta;   /* of what is mapped: OS_META */
    uint64_t purged; /* given back by os_purge, a running total */
    uint64_t map_calls, unmap_calls, purge_calls, failed_calls;
};

#endif
