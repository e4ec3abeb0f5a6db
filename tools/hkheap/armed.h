/* armed.h - how many of a process's caches wait for an allocation to sample. */
#ifndef HKHEAP_ARMED_H
#define HKHEAP_ARMED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Count them from the process's memory: of the caches, one for each thread and size class, those that were used, and of these
 * those that a number of allocations was drawn for. False: the memory may not be read, or it has ended. */
bool armed_count(pid_t pid, uint64_t *armed, uint64_t *caches);

#endif
