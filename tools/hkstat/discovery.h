/* discovery.h - finding the accounts of processes that run already: bpf/discovery.bpf.h looks, here it is told for what. */
#ifndef HKSTAT_DISCOVERY_H
#define HKSTAT_DISCOVERY_H

#include <stdbool.h>
#include <sys/types.h>

#include "collection.h"
#include "library.h"

/* Look for the library's accounts in this process, or in all if pid is 0, at the next discovery_run(). A copy that doesn't
 * say where its account is is left to its events. False: a message was written. */
bool discovery_want(const struct collection *collection, const struct library *library, pid_t pid);

/* Enter every process that has what was wanted. False: a message was written. */
bool discovery_run(const struct collection *collection);

#endif
