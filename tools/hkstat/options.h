/* options.h - the command line of the commands that show. */
#ifndef HKSTAT_OPTIONS_H
#define HKSTAT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum { EXIT_USAGE = 2 };

enum command { COMMAND_WATCH, COMMAND_RECORD, COMMAND_REPLAY };

enum format { FORMAT_DEFAULT, FORMAT_JSON, FORMAT_CSV };

struct options {
    enum command command;
    enum format format;
    const char *pin_dir;
    const char *file;     /* of a record */
    const char *at;       /* replay: the moment to show; NULL: all */
    uint64_t pid;         /* 0: all processes */
    uint64_t interval_ms; /* 0: not given */
    uint64_t count;       /* ticks; 0: no end */
};

/* Reads the command line; ends the program after --help and --version, and with EXIT_USAGE if it isn't understood. */
void options_parse(int argc, char **argv, struct options *options);

/* The moment that --at tells: @SECONDS since the epoch, +SECONDS from `first_ms`, YYYY-MM-DD HH:MM[:SS], or HH:MM[:SS] on the
 * day of first_ms, in local time. False: none of these. */
bool options_moment(const char *text, int64_t first_ms, int64_t *time_ms);

#endif
