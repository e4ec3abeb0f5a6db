#include "occupancy.h"

#include <errno.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "process.h"
#include "src/superslab.h"
#include "tick.h"

/* The library exports no table of its insides, so its symbols are read; that their layout is the one compiled in here is
 * checked against what each SuperSlab says of itself. Only what lies before the bitmaps is read. */
#define HEAD_SIZE offsetof(struct superslab, bits)
#define MOST_INDEX ((uint64_t)1 << 26) /* SuperSlabs in the largest region: 128 TiB */
#define MOST_WRONG 256u                /* that went away while they were read, or were never there */

enum symbol { SYMBOL_ACCOUNT, SYMBOL_BASE, SYMBOL_UNITS, SYMBOL_MAP, SYMBOL_SUPERSLABS, SYMBOLS };

static const char *const symbol_names[SYMBOLS] = {"hk_account", "region_base", "region_units", "region_map",
                                                  "superslabs"};

static bool find_symbols(int fd, uint64_t values[SYMBOLS])
{
    memset(values, 0, SYMBOLS * sizeof *values);
    Elf *elf = elf_version(EV_CURRENT) != EV_NONE ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
    Elf_Scn *section = NULL;
    GElf_Shdr header;
    while (elf != NULL && (section = elf_nextscn(elf, section)) != NULL) {
        Elf_Data *data = NULL;
        if (gelf_getshdr(section, &header) == NULL || header.sh_type != SHT_SYMTAB || header.sh_entsize == 0 ||
            (data = elf_getdata(section, NULL)) == NULL)
            continue;
        GElf_Sym symbol;
        for (size_t i = 0; i < data->d_size / header.sh_entsize && gelf_getsym(data, (int)i, &symbol) != NULL; i++) {
            const char *name = elf_strptr(elf, header.sh_link, symbol.st_name);
            for (size_t known = 0; name != NULL && known < SYMBOLS; known++) {
                if (GELF_ST_TYPE(symbol.st_info) == STT_OBJECT && strcmp(name, symbol_names[known]) == 0)
                    values[known] = symbol.st_value;
            }
        }
    }
    elf_end(elf);
    for (size_t i = 0; i < SYMBOLS; i++) {
        if (values[i] == 0)
            return false;
    }
    return true;
}

static bool library_symbols(pid_t pid, uint64_t values[SYMBOLS])
{
    enum { MOST_LIBRARIES = 8 };
    struct library *libraries = tick_grow(NULL, MOST_LIBRARIES, sizeof *libraries);
    char path[HK_PATH_LENGTH];
    unsigned count;
    bool found = false;
    library_of_process(pid, libraries, MOST_LIBRARIES, &count, path);
    for (unsigned i = 0; i < count; i++) {
        found = found || find_symbols(libraries[i].fd, values);
        close(libraries[i].fd);
    }
    free(libraries);
    return found;
}

static bool read_memory(pid_t pid, uint64_t address, void *out, size_t length)
{
    struct iovec local = {.iov_base = out, .iov_len = length};
    struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = length};
    return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)length;
}

static void tell_units(const struct superslab *head, const uint8_t *codes, struct occupancy_superslab *out)
{
    for (unsigned unit = 0; unit < HK_UNITS_PER_SUPERSLAB; unit++) {
        struct occupancy_unit *to = &out->units[unit];
        uint32_t at_or_below = head->run_units & UINT32_MAX >> (HK_UNITS_PER_SUPERSLAB - 1 - unit);
        const struct slab *run = &head->runs[at_or_below != 0 ? 31u - (unsigned)__builtin_clz(at_or_below) : unit];
        if (head->free_units >> unit & 1) {
            to->state = head->dirty_units >> unit & 1 ? UNIT_DIRTY : UNIT_FREE;
        } else if (codes[unit] == HK_CODE_NONE) {
            to->state = UNIT_LARGE;
        } else {
            to->state = UNIT_SLAB;
            if (run->blocks != 0 && run->nfree <= run->blocks)
                to->fill = (uint8_t)((run->blocks - run->nfree) * 100u / run->blocks);
        }
    }
}

/* Read one SuperSlab's head and its part of the slab map. False: it is gone, or isn't one. */
static bool read_superslab(pid_t pid, uint64_t at, uint64_t base, uint64_t map, struct occupancy_superslab *out)
{
    static union {
        struct superslab superslab;
        char bytes[HEAD_SIZE];
    } head;
    uint8_t codes[HK_UNITS_PER_SUPERSLAB];
    if (!read_memory(pid, at, &head, HEAD_SIZE) || !read_memory(pid, map, codes, sizeof codes) ||
        (uint64_t)(uintptr_t)head.superslab.base != base)
        return false;
    out->base = base;
    tell_units(&head.superslab, codes, out);
    return true;
}

/* Go through the table of SuperSlabs, by index in the region. */
static bool read_region(pid_t pid, const uint64_t values[SYMBOLS], uint64_t bias, struct occupancy *occupancy,
                        char *error)
{
    uint64_t base, units, map, table, entries[512];
    size_t wrong = 0;
    if (!read_memory(pid, bias + values[SYMBOL_BASE], &base, sizeof base) ||
        !read_memory(pid, bias + values[SYMBOL_UNITS], &units, sizeof units) ||
        !read_memory(pid, bias + values[SYMBOL_MAP], &map, sizeof map) ||
        !read_memory(pid, bias + values[SYMBOL_SUPERSLABS], &table, sizeof table)) {
        snprintf(error, OCCUPANCY_ERROR_SIZE, "can't read the process's memory: %s", strerror(errno));
        return false;
    }
    uint64_t most = units / HK_UNITS_PER_SUPERSLAB < MOST_INDEX ? units / HK_UNITS_PER_SUPERSLAB : MOST_INDEX;
    unsigned empty_in_a_row = 0;
    for (uint64_t idx = 0; idx < most && empty_in_a_row < OCCUPANCY_MOST && wrong < MOST_WRONG && !occupancy->more;
         idx++) {
        size_t within = idx % 512, left = most - idx < 512 ? most - idx : 512;
        if (within == 0 && !read_memory(pid, table + idx * sizeof entries[0], entries, left * sizeof entries[0]))
            break;
        if (entries[within] == 0) {
            empty_in_a_row++;
            continue;
        }
        empty_in_a_row = 0;
        if (occupancy->count == OCCUPANCY_MOST)
            occupancy->more = true;
        else if (read_superslab(pid, entries[within], base + (idx << HK_SUPERSLAB_SHIFT),
                                map + idx * HK_UNITS_PER_SUPERSLAB, &occupancy->superslabs[occupancy->count]))
            occupancy->count++;
        else
            wrong++;
    }
    if (wrong == MOST_WRONG || wrong > occupancy->count) {
        snprintf(error, OCCUPANCY_ERROR_SIZE,
                 "the process's library lays out its SuperSlabs in another way than this hkstat knows");
        return false;
    }
    return true;
}

bool occupancy_read(const struct hk_process *process, struct occupancy *occupancy, char *error)
{
    uint64_t values[SYMBOLS], began, probe;
    pid_t pid = (pid_t)process->key.pid;
    *occupancy = (struct occupancy){0};
    if (process->account == 0) {
        snprintf(error, OCCUPANCY_ERROR_SIZE, "the process has not told yet where its account is");
        return false;
    }
    if (!process_start_time(pid, &began) || began / 1000000000 != process->key.start_time / 1000000000) {
        snprintf(error, OCCUPANCY_ERROR_SIZE,
                 "there is no such process here: it has ended, or is of another pid namespace");
        return false;
    }
    if (!read_memory(pid, process->account, &probe, sizeof probe)) {
        snprintf(error, OCCUPANCY_ERROR_SIZE,
                 "may not read the process's memory (%s): it needs the process's own user, or CAP_SYS_PTRACE",
                 strerror(errno));
        return false;
    }
    if (!library_symbols(pid, values)) {
        snprintf(error, OCCUPANCY_ERROR_SIZE,
                 "its library can't be read, or is stripped of the symbols that tell where its SuperSlabs are");
        return false;
    }
    occupancy->superslabs = tick_grow(NULL, OCCUPANCY_MOST, sizeof *occupancy->superslabs);
    if (read_region(pid, values, process->account - values[SYMBOL_ACCOUNT], occupancy, error))
        return true;
    occupancy_free(occupancy);
    return false;
}

void occupancy_free(struct occupancy *occupancy)
{
    free(occupancy->superslabs);
    *occupancy = (struct occupancy){0};
}
