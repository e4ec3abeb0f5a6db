/* reader.h - the pinned maps as a tick. Only looks: it needs the right to read the pins, and no other. */
#ifndef HKSTAT_READER_H
#define HKSTAT_READER_H

#include "tick.h"

#define READER_ERROR_SIZE 512

enum reader_result {
    READER_OK,
    READER_NOT_ATTACHED, /* there are no pins */
    READER_FAILED,
};

/* Read the maps below `pin_dir`, and the accounts of the processes anew. pid: of the initial namespace; 0 for all. The tick is
 * finished, not compared, and the caller's to free. Else `error`, of READER_ERROR_SIZE bytes, says what is wrong and what to
 * do. The pins are opened anew each time, so a detach or another attach is noticed. */
enum reader_result reader_read(const char *pin_dir, uint64_t pid, struct tick **tick, char *error);

#endif
