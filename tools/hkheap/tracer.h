/* tracer.h - watching the sampled allocations of one process: the BPF programs, for as long as this one runs. */
#ifndef HKHEAP_TRACER_H
#define HKHEAP_TRACER_H

#include <stdbool.h>
#include <sys/types.h>

#include "bpf/heap_event.h"
#include "profile.h"

struct tracer;

/* Begin with a process; from now on it samples. NULL: a message was written. */
struct tracer *tracer_new(pid_t pid);
void tracer_free(struct tracer *tracer);

/* Take into the profile what has come within `ms`. False: reading failed, with a message. */
bool tracer_poll(struct tracer *tracer, struct profile *profile, int ms);

/* Watch no more, and take what was told and waits. */
bool tracer_finish(struct tracer *tracer, struct profile *profile);

/* Bring the profile's head up to date: its time, what was lost, and whether it is partial. */
void tracer_tell(struct tracer *tracer, struct profile *profile);

/* Whether the process is still there, and still the program that it was. */
bool tracer_lives(const struct tracer *tracer);

#endif
