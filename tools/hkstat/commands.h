/* commands.h - the commands of hkstat that are not about ticks. Each parses its own arguments, argv[0] being the command's
 * name, writes what it did to standard output and what went wrong to standard error. Not thread-safe. */
#ifndef HKSTAT_COMMANDS_H
#define HKSTAT_COMMANDS_H

/* `hkstat attach`: 0 once all that was asked for is attached and pinned, else 1, with nothing left behind by this call. */
int hkstat_attach(int argc, char **argv);

/* `hkstat detach`: 0 once no link, pin or raised semaphore is left, also if there was none; else 1. */
int hkstat_detach(int argc, char **argv);

/* `hkstat status`: 0 if something is attached, else 1. */
int hkstat_status(int argc, char **argv);

/* `hkstat stacks`: 0 once what is there is shown, else 1. */
int hkstat_stacks(int argc, char **argv);

/* `hkstat explain`: 0 once it is told what the memory is used for, else 1. */
int hkstat_explain(int argc, char **argv);

#endif
