/* file_system.h - file systems that a process serves: whoever opens or reads a file of such a one waits for that process. */
#ifndef HKSTAT_FILE_SYSTEM_H
#define HKSTAT_FILE_SYSTEM_H

#include <stdbool.h>
#include <sys/types.h>

/* Whether a device, as /proc/PID/maps names it, is of such a file system (FUSE), or of one that is mounted nowhere any more, and
 * may be. Asks the kernel alone. */
bool file_system_is_served(pid_t pid, dev_t device);

#endif
