/* guard.h - being attached for as long as this program runs, however it ends. */
#ifndef HKSTAT_GUARD_H
#define HKSTAT_GUARD_H

#include <stdbool.h>
#include <stdint.h>

/* Start a process of its own that attaches, to `pid` or to all (0), with the pins below pin_dir, waits until this program
 * has ended or called guard_end(), and detaches; SIGKILL of this program is such an end too. True once it is attached; else
 * it has written why to standard error. Once a program. */
bool guard_start(const char *pin_dir, uint64_t pid);

/* Detach, and wait until that is done. Nothing if there is no guard. */
void guard_end(void);

#endif
