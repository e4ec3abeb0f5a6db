#include "core.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"

#define PAGE_BYTES ((uint64_t)4096)
#define ADDRESSES_END (UINT64_MAX - PAGE_BYTES) /* behind it the end of a page would wrap */

/* A part of memory that lies in the file: none overlaps another. */
struct part {
    struct span span;
    uint64_t offset; /* in the file */
};

struct core {
    const char *bytes; /* the whole file, mapped */
    uint64_t length;
    int fd;             /* until it is read */
    struct part *parts; /* in order of address */
    size_t part_count;
};

static bool is_zero(const char *bytes, size_t length)
{
    return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

static void add_part(struct core *core, struct part part)
{
    core->parts = grow_by_one(core->parts, core->part_count, sizeof *core->parts);
    core->parts[core->part_count++] = part;
}

static int by_address(const void *a, const void *b)
{
    const struct part *left = a, *right = b;
    return left->span.from < right->span.from ? -1 : left->span.from > right->span.from;
}

static int by_mapping(const void *a, const void *b)
{
    const struct mapping *left = a, *right = b;
    return left->span.from < right->span.from ? -1 : left->span.from > right->span.from;
}

/* Put in order, and without those that begin before the one in front has ended: no kernel writes such. */
static void part_parts(struct core *core, struct address_space *space)
{
    size_t kept = 0;
    if (core->part_count != 0)
        qsort(core->parts, core->part_count, sizeof *core->parts, by_address);
    for (size_t i = 0; i < core->part_count; i++)
        if (kept == 0 || core->parts[kept - 1].span.to <= core->parts[i].span.from)
            core->parts[kept++] = core->parts[i];
    space->is_cut = space->is_cut || kept != core->part_count;
    core->part_count = kept;
}

static void part_mappings(struct address_space *space)
{
    size_t kept = 0;
    if (space->mapping_count != 0)
        qsort(space->mappings, space->mapping_count, sizeof *space->mappings, by_mapping);
    for (size_t i = 0; i < space->mapping_count; i++)
        if (kept == 0 || space->mappings[kept - 1].span.to <= space->mappings[i].span.from)
            space->mappings[kept++] = space->mappings[i];
        else
            free(space->mappings[i].path);
    space->is_cut = space->is_cut || kept != space->mapping_count;
    space->mapping_count = kept;
}

/* What the file has of each segment; the rest of it was not dumped, or was cut off. */
static bool read_segments(struct core *core, struct address_space *space, Elf *elf)
{
    size_t count;
    GElf_Phdr segment;
    if (elf_getphdrnum(elf, &count) != 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (gelf_getphdr(elf, (int)i, &segment) == NULL)
            return false;
        if (segment.p_type != PT_LOAD || segment.p_memsz == 0 || segment.p_vaddr >= ADDRESSES_END ||
            segment.p_memsz > ADDRESSES_END - segment.p_vaddr)
            continue;
        address_space_add_mapping(space, (struct span){segment.p_vaddr, segment.p_vaddr + segment.p_memsz});
        uint64_t there = segment.p_offset < core->length ? core->length - segment.p_offset : 0;
        uint64_t length = segment.p_filesz < segment.p_memsz ? segment.p_filesz : segment.p_memsz;
        if (length > there) {
            space->is_cut = true;
            length = there;
        }
        if (length != 0)
            add_part(core, (struct part){{segment.p_vaddr, segment.p_vaddr + length}, segment.p_offset});
    }
    part_parts(core, space);
    part_mappings(space);
    return core->part_count != 0;
}

/* Where the file holds bytes again, and from there on a hole: `otherwise` where it can't be told. */
static uint64_t seek(const struct core *core, uint64_t offset, int whence, uint64_t otherwise)
{
    off_t found = lseek(core->fd, (off_t)offset, whence);
    return found >= 0 ? (uint64_t)found : errno == ENXIO ? core->length : otherwise;
}

/* The kernel leaves holes in the file for pages of zeros, and there may be more of these than could be read. */
static void find_resident_of(const struct core *core, const struct part *part, struct address_space *space)
{
    uint64_t length = part->span.to - part->span.from, from, to;
    for (uint64_t at = part->span.from; at < part->span.to;) {
        from = seek(core, part->offset + (at - part->span.from), SEEK_DATA, part->offset + (at - part->span.from));
        to = seek(core, from, SEEK_HOLE, core->length);
        if (from >= part->offset + length)
            return;
        uint64_t data = part->span.from + (from - part->offset), end = part->span.to;
        if (to - part->offset < length)
            end = part->span.from + (to - part->offset);
        data -= data % PAGE_BYTES;
        for (at = data > at ? data : at; at < end;) {
            uint64_t next = at - at % PAGE_BYTES + PAGE_BYTES;
            if (next > part->span.to)
                next = part->span.to;
            if (!is_zero(core->bytes + part->offset + (at - part->span.from), (size_t)(next - at)))
                address_space_add_resident(space, (struct span){at, next});
            at = next;
        }
    }
}

/* Of the first `count` mappings, which are in order, the one that begins at an address; NULL: none does. */
static struct mapping *beginning_at(struct address_space *space, size_t count, uint64_t address)
{
    const struct mapping wanted = {.span = {.from = address}};
    return bsearch(&wanted, space->mappings, count, sizeof wanted, by_mapping);
}

/* NT_FILE: count, page size, then of each mapping its start, end and page in the file, then the paths in the same order. */
static void read_files(struct address_space *space, const char *desc, size_t length)
{
    uint64_t head[2], entry[3];
    size_t count =
        space->mapping_count; /* those of which nothing was dumped come behind, until all are in order again */
    if (length < sizeof head)
        return;
    memcpy(head, desc, sizeof head);
    if (head[0] > (length - sizeof head) / sizeof entry)
        return;
    const char *path = desc + sizeof head + head[0] * sizeof entry, *end = desc + length;
    for (uint64_t i = 0; i < head[0] && path < end; i++) {
        const char *stop = memchr(path, '\0', (size_t)(end - path));
        memcpy(entry, desc + sizeof head + i * sizeof entry, sizeof entry);
        if (stop == NULL || entry[1] <= entry[0] || entry[1] > ADDRESSES_END)
            break;
        struct mapping *mapping = beginning_at(space, count, entry[0]);
        if (mapping == NULL)
            mapping = address_space_add_mapping(space, (struct span){entry[0], entry[1]});
        if (mapping->path == NULL) {
            mapping->is_file = mapping->is_executable = true;
            mapping->offset = entry[2] * head[1];
            mapping->path = strdup(path);
        }
        path = stop + 1;
    }
    part_mappings(space);
}

static void read_notes(struct address_space *space, Elf *elf)
{
    size_t count, name, desc, next;
    GElf_Phdr segment;
    GElf_Nhdr note;
    if (elf_getphdrnum(elf, &count) != 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (gelf_getphdr(elf, (int)i, &segment) == NULL || segment.p_type != PT_NOTE)
            continue;
        Elf_Data *data = elf_getdata_rawchunk(elf, (int64_t)segment.p_offset, segment.p_filesz, ELF_T_NHDR);
        for (size_t at = 0; data != NULL && (next = gelf_getnote(data, at, &note, &name, &desc)) > 0; at = next) {
            const char *bytes = (const char *)data->d_buf + desc;
            struct elf_prpsinfo info;
            if (note.n_type == NT_FILE)
                read_files(space, bytes, note.n_descsz);
            if (note.n_type == NT_PRPSINFO && note.n_descsz >= sizeof info) {
                memcpy(&info, bytes, sizeof info);
                memcpy(space->name, info.pr_fname, sizeof info.pr_fname);
                space->pid = info.pr_pid;
            }
        }
    }
}

static bool read_core(struct core *core, struct address_space *space, const char *path, char *error)
{
    GElf_Ehdr header;
    elf_version(EV_CURRENT);
    Elf *elf = elf_memory((char *)core->bytes, core->length);
    bool is_core = elf != NULL && elf_kind(elf) == ELF_K_ELF && gelf_getehdr(elf, &header) != NULL &&
                   header.e_type == ET_CORE && gelf_getclass(elf) == ELFCLASS64;
    bool good = is_core && read_segments(core, space, elf);
    if (good) {
        read_notes(space, elf);
        for (size_t i = 0; i < core->part_count; i++)
            find_resident_of(core, &core->parts[i], space);
    } else {
        snprintf(error, ADDRESS_SPACE_ERROR_SIZE, "%s %s", path,
                 is_core ? "holds no memory: it was cut off, or is damaged" : "is no core file of this machine");
    }
    elf_end(elf);
    return good;
}

struct core *core_open(const char *path, struct address_space *space, char *error)
{
    struct stat status;
    struct core *core = grow(NULL, 1, sizeof *core);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *core = (struct core){.fd = fd};
    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0) {
        snprintf(error, ADDRESS_SPACE_ERROR_SIZE, "can't read %s: %s", path,
                 fd < 0 ? strerror(errno) : "it is no file with anything in it");
    } else {
        /* Private to libelf's changes, of which there are few: a file may be larger than the memory. */
        void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
        if (bytes == MAP_FAILED) {
            snprintf(error, ADDRESS_SPACE_ERROR_SIZE, "can't map %s: %s", path, strerror(errno));
        } else {
            core->bytes = bytes;
            core->length = (uint64_t)status.st_size;
        }
    }
    bool good = core->bytes != NULL && read_core(core, space, path, error);
    if (fd >= 0)
        close(fd);
    if (good)
        return core;
    core_close(core);
    return NULL;
}

void core_close(struct core *core)
{
    if (core == NULL)
        return;
    if (core->bytes != NULL)
        munmap((void *)core->bytes, core->length);
    free(core->parts);
    free(core);
}

bool core_read(const struct core *core, uint64_t address, void *out, size_t length)
{
    size_t at = span_search(core->parts, core->part_count, sizeof *core->parts, address);
    for (; length > 0 && at < core->part_count && core->parts[at].span.from <= address; at++) {
        const struct part *part = &core->parts[at];
        uint64_t here = part->span.to - address;
        size_t now = here < length ? (size_t)here : length;
        memcpy(out, core->bytes + part->offset + (address - part->span.from), now);
        address += now;
        out = (char *)out + now;
        length -= now;
    }
    return length == 0;
}
