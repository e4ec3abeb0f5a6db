/* oom_report.h - what the process holds and what failed last, in words: when memory has run out. */
#ifndef HK_OOM_REPORT_H
#define HK_OOM_REPORT_H

#include "base.h"

/* Write it to the descriptor, line by line, each by one write(2). Allocates nothing, takes no lock; settles the calling thread's counters.
 * errno kept. */
HK_HIDDEN HK_COLD void oom_report_write(int fd);

/* The same to standard error, the first time that it is called in this process and its parents; with the option oom_report alone. */
HK_HIDDEN HK_COLD void oom_report_first(void);

#endif
