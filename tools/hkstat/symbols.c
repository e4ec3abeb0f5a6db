#include "symbols.h"

#include <elfutils/libdwfl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"
#include "modules.h"
#include "process.h"
#include "safe_text.h"
#include "tick.h"

#define PART_SIZE 200 /* of a function's or file's name */

struct symbols {
    Dwfl *dwfl; /* NULL: no names */
};

/* A file's own symbols have to do: no search, here or in the network. */
static int no_debug_file(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, const char *file,
                         const char *link, GElf_Word checksum, char **found)
{
    (void)module, (void)data, (void)name, (void)base, (void)file, (void)link, (void)checksum, (void)found;
    return -1;
}

static const Dwfl_Callbacks callbacks = {
    .find_elf = modules_find_file,
    .find_debuginfo = no_debug_file,
};

struct symbols *symbols_of(const struct hk_process_key *process)
{
    struct symbols *symbols = grow(NULL, 1, sizeof *symbols);
    uint64_t began, second = 1000000000;
    pid_t pid = (pid_t)process->pid;
    symbols->dwfl = NULL;
    if (!process_start_time(pid, &began) || began / second != process->start_time / second)
        return symbols;
    symbols->dwfl = dwfl_begin(&callbacks);
    if (symbols->dwfl != NULL &&
        (modules_report(symbols->dwfl, pid) != 0 || dwfl_report_end(symbols->dwfl, NULL, NULL) != 0)) {
        dwfl_end(symbols->dwfl);
        symbols->dwfl = NULL;
    }
    return symbols;
}

void symbols_free(struct symbols *symbols)
{
    if (symbols->dwfl != NULL)
        dwfl_end(symbols->dwfl);
    free(symbols);
}

/* The last part of a path. */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

void symbols_name(const struct symbols *symbols, uint64_t address, bool before, char *out)
{
    char function[SAFE_TEXT_SIZE(PART_SIZE)] = "", file[SAFE_TEXT_SIZE(PART_SIZE)] = "";
    Dwfl_Module *module = symbols->dwfl != NULL ? dwfl_addrmodule(symbols->dwfl, address - before) : NULL;
    GElf_Off offset = 0;
    GElf_Sym symbol;
    Dwarf_Addr from = 0, to = 0;
    const char *path = module != NULL ? dwfl_module_info(module, NULL, &from, &to, NULL, NULL, NULL, NULL) : NULL;
    if (address - before >= from && address - before < to) { /* else it is the nearest module */
        const char *name = dwfl_module_addrinfo(module, address - before, &offset, &symbol, NULL, NULL, NULL);
        safe_text(function, name != NULL ? name : "", PART_SIZE);
        safe_text(file, path != NULL ? base_name(path) : "", PART_SIZE);
    }
    if (function[0] != '\0')
        snprintf(out, SYMBOLS_NAME_SIZE, "%.250s+0x%" PRIx64 " %.200s", function, (uint64_t)offset + before, file);
    else
        snprintf(out, SYMBOLS_NAME_SIZE, "0x%" PRIx64 " %.400s", address, file);
}
