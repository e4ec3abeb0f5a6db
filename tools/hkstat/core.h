/* core.h - an ELF core file as the memory of a process: for address_space.c alone. */
#ifndef HKSTAT_CORE_H
#define HKSTAT_CORE_H

#include "address_space.h"

struct core;

/* Open a core file and enter what it has mapped and resident. NULL: `error`, of ADDRESS_SPACE_ERROR_SIZE bytes, says why. */
struct core *core_open(const char *path, struct address_space *space, char *error);

void core_close(struct core *core);

bool core_read(const struct core *core, uint64_t address, void *out, size_t length);

#endif
