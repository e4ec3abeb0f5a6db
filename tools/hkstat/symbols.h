/* symbols.h - the names of a running process's code addresses. */
#ifndef HKSTAT_SYMBOLS_H
#define HKSTAT_SYMBOLS_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/hakmem_maps.h"

#define SYMBOLS_NAME_SIZE 512

struct symbols;

/* Of the process; to be freed. If it has ended or may not be looked into, addresses have no names. */
struct symbols *symbols_of(const struct hk_process_key *process);
void symbols_free(struct symbols *symbols);

/* Write "FUNCTION+0xOFFSET FILE", or what of it is known, to `out` of SYMBOLS_NAME_SIZE bytes: safe text. `before`: name the
 * function that has the instruction before the address, as a return address needs. */
void symbols_name(const struct symbols *symbols, uint64_t address, bool before, char *out);

#endif
