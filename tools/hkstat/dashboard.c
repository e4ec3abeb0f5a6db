#include "dashboard.h"
enum source_result dashboard_run(struct source *source, const struct tick *tick, uint64_t pid, bool utf8,
                                 volatile const sig_atomic_t *stop_signal, char *error)
{
    (void)source;
    (void)tick;
    (void)pid;
    (void)utf8;
    (void)stop_signal;
    (void)error;
    return SOURCE_END;
}
