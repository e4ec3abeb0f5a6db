/* dashboard.h - the live screen: all processes, or one. Keys as in htop and bpftop; `?` tells them. */
#ifndef HKSTAT_DASHBOARD_H
#define HKSTAT_DASHBOARD_H

#include <signal.h>

#include "source.h"

/* Show `tick`, the first of `source`, and those that follow, until the user quits or *stop_signal isn't 0. Opens the process
 * `pid` at once if it isn't 0. The terminal is left as it was. SOURCE_END: the user quit, `error` is empty. Else `error`, of
 * SOURCE_ERROR_SIZE bytes, says what ended it. */
enum source_result dashboard_run(struct source *source, const struct tick *tick, uint64_t pid, bool utf8,
                                 volatile const sig_atomic_t *stop_signal, char *error);

#endif
