#include "address_space.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core.h"
#include "memory.h"
#include "process.h"

#define CACHED_PAGES 1024u
#define CACHED_SIZE 4096u

struct page_cache {
    struct {
        uint64_t page; /* its address; 1: none */
        bool is_read;
        char bytes[CACHED_SIZE];
    } pages[CACHED_PAGES];
    dev_t device; /* of the file that may be read */
    ino_t inode;
};

struct mapping *address_space_add_mapping(struct address_space *space, struct span span)
{
    space->mappings = grow_by_one(space->mappings, space->mapping_count, sizeof *space->mappings);
    struct mapping *mapping = &space->mappings[space->mapping_count++];
    *mapping = (struct mapping){.span = span};
    return mapping;
}

void address_space_add_resident(struct address_space *space, struct span span)
{
    struct span *last = space->resident_count != 0 ? &space->resident[space->resident_count - 1] : NULL;
    if (last != NULL && last->to == span.from) {
        last->to = span.to;
        return;
    }
    space->resident = grow_by_one(space->resident, space->resident_count, sizeof *space->resident);
    space->resident[space->resident_count++] = span;
}

static struct address_space *new_space(void)
{
    struct address_space *space = grow(NULL, 1, sizeof *space);
    *space = (struct address_space){.cache = grow(NULL, 1, sizeof *space->cache)};
    memset(space->cache, 0, sizeof *space->cache);
    for (unsigned i = 0; i < CACHED_PAGES; i++)
        space->cache->pages[i].page = 1;
    return space;
}

void address_space_free(struct address_space *space)
{
    if (space == NULL)
        return;
    for (size_t i = 0; i < space->mapping_count; i++)
        free(space->mappings[i].path);
    core_close(space->core);
    free(space->mappings);
    free(space->resident);
    free(space->cache);
    free(space);
}

/* ---- what of a process is resident ---- */

/* linux/fs.h has these from Linux 6.7 on. */
struct scan_region {
    uint64_t start, end, categories;
};

struct scan {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN_IOCTL _IOWR('f', 16, struct scan)
#define SCAN_PRESENT ((uint64_t)1 << 3)
#define SCAN_ZERO_PAGE ((uint64_t)1 << 5) /* read, never written: no memory of the process's, nor in its RSS */

static bool scan(struct address_space *space, int pagemap, struct span span)
{
    struct scan_region regions[512];
    struct scan request = {
        .size = sizeof request,
        .start = span.from,
        .end = span.to,
        .vec = (uint64_t)(uintptr_t)regions,
        .vec_len = sizeof regions / sizeof regions[0],
        .category_inverted = SCAN_ZERO_PAGE,
        .category_mask = SCAN_PRESENT | SCAN_ZERO_PAGE,
        .return_mask = SCAN_PRESENT,
    };
    while (request.start < span.to) {
        int count = ioctl(pagemap, SCAN_IOCTL, &request);
        if (count < 0)
            return false;
        for (int i = 0; i < count; i++)
            address_space_add_resident(space, (struct span){regions[i].start, regions[i].end});
        if (request.walk_end <= request.start)
            return true;
        request.start = request.walk_end;
    }
    return true;
}

/* The same of older kernels, where pages of zeros that were only read count too. */
static bool scan_pagemap(struct address_space *space, int pagemap, struct span span)
{
    uint64_t entries[2048], page_size = (uint64_t)sysconf(_SC_PAGESIZE);
    for (uint64_t at = span.from; at < span.to;) {
        size_t count = (size_t)((span.to - at) / page_size);
        if (count > sizeof entries / sizeof entries[0])
            count = sizeof entries / sizeof entries[0];
        ssize_t got = pread(pagemap, entries, count * sizeof entries[0], (off_t)(at / page_size * sizeof entries[0]));
        if (got <= 0)
            return false;
        for (size_t i = 0; i < (size_t)got / sizeof entries[0]; i++, at += page_size)
            if (entries[i] >> 63 != 0)
                address_space_add_resident(space, (struct span){at, at + page_size});
    }
    return true;
}

/* ---- a process that runs ---- */

static bool parse_mapping(struct address_space *space, const char *line)
{
    unsigned long long from, to, offset, inode;
    unsigned major_number, minor_number;
    char permissions[5];
    int path = 0;
    if (sscanf(line, "%llx-%llx %4s %llx %x:%x %llu %n", &from, &to, permissions, &offset, &major_number, &minor_number,
               &inode, &path) != 7)
        return false;
    struct mapping *mapping = address_space_add_mapping(space, (struct span){from, to});
    mapping->is_file = inode != 0;
    mapping->is_executable = permissions[2] == 'x';
    mapping->offset = offset;
    mapping->device = makedev(major_number, minor_number);
    mapping->inode = (ino_t)inode;
    if (inode != 0 && line[path] == '/')
        mapping->path = strndup(line + path, strcspn(line + path, "\n"));
    return true;
}

static int open_of(pid_t pid, const char *file)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* Mappings, and with `pagemap` (else -1) each one's resident pages. smaps tells both sums; its lines are read as they come. */
static bool read_mappings(struct address_space *space, int pagemap)
{
    int fd = open_of(space->thread, pagemap >= 0 ? "smaps" : "maps");
    FILE *smaps = fd >= 0 ? fdopen(fd, "r") : NULL;
    char *line = NULL;
    size_t size = 0;
    bool good = smaps != NULL, scans = true;
    while (good && getline(&line, &size, smaps) > 0) {
        unsigned long long kib;
        if (parse_mapping(space, line))
            continue;
        if (sscanf(line, "Rss: %llu kB", &kib) == 1 && kib != 0) {
            struct span span = space->mappings[space->mapping_count - 1].span;
            space->rss += kib << 10;
            scans = scans && scan(space, pagemap, span);
            good = scans || scan_pagemap(space, pagemap, span);
        } else if (sscanf(line, "AnonHugePages: %llu kB", &kib) == 1) {
            space->huge_bytes += kib << 10;
        }
    }
    good = good && ferror(smaps) == 0;
    free(line);
    if (smaps != NULL)
        fclose(smaps);
    else if (fd >= 0)
        close(fd);
    return good;
}

static void read_name(struct address_space *space)
{
    int fd = open_of(space->pid, "comm");
    ssize_t got = fd >= 0 ? read(fd, space->name, sizeof space->name - 1) : 0;
    if (got > 0 && space->name[got - 1] == '\n')
        space->name[got - 1] = '\0';
    if (fd >= 0)
        close(fd);
}

/* What kept maps or pagemap from being read. A process that has ended, and one of the kernel's, have no memory. */
static void tell_refusal(pid_t pid, int error, char *text)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (error == EACCES || error == EPERM)
        snprintf(text, ADDRESS_SPACE_ERROR_SIZE,
                 "may not read the process's memory (%s): it needs the process's own user, or CAP_SYS_PTRACE",
                 strerror(error));
    else if (access(path, F_OK) != 0)
        snprintf(text, ADDRESS_SPACE_ERROR_SIZE, "no process %d", (int)pid);
    else
        snprintf(text, ADDRESS_SPACE_ERROR_SIZE, "process %d has no memory: it is the kernel's, or has just ended",
                 (int)pid);
}

struct address_space *address_space_of_process(pid_t pid, bool residency, char *error)
{
    struct address_space *space = new_space();
    space->pid = pid;
    space->thread = process_thread(pid);
    errno = 0;
    int pagemap = residency ? open_of(space->thread, "pagemap") : -1;
    bool good = (pagemap >= 0 || !residency) && read_mappings(space, pagemap) && space->mapping_count != 0;
    int reason = errno;
    if (pagemap >= 0)
        close(pagemap);
    if (!good) {
        tell_refusal(pid, reason, error);
        address_space_free(space);
        return NULL;
    }
    read_name(space);
    return space;
}

/* ---- a core file ---- */

struct address_space *address_space_of_core(const char *path, char *error)
{
    struct address_space *space = new_space();
    space->core = core_open(path, space, error);
    if (space->core == NULL) {
        address_space_free(space);
        return NULL;
    }
    for (size_t i = 0; i < space->resident_count; i++)
        space->rss += space->resident[i].to - space->resident[i].from;
    return space;
}

/* ---- its bytes ---- */

size_t span_search(const void *structs, size_t count, size_t size, uint64_t address)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct span *span = (const void *)((const char *)structs + middle * size);
        if (span->to <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct mapping *address_space_find(const struct address_space *space, uint64_t address)
{
    size_t at = span_search(space->mappings, space->mapping_count, sizeof *space->mappings, address);
    return at < space->mapping_count && space->mappings[at].span.from <= address ? &space->mappings[at] : NULL;
}

void address_space_trust(struct address_space *space, dev_t device, ino_t inode)
{
    space->cache->device = device;
    space->cache->inode = inode;
}

static bool may_read(const struct address_space *space, uint64_t address, size_t length)
{
    while (length > 0) {
        const struct mapping *mapping = address_space_find(space, address);
        bool trusted = mapping != NULL && mapping->device == space->cache->device &&
                       mapping->inode == space->cache->inode;
        if (mapping == NULL || (mapping->is_file && !trusted))
            return false;
        uint64_t here = mapping->span.to - address;
        if (here >= length)
            return true;
        address += here;
        length -= here;
    }
    return true;
}

bool address_space_read(const struct address_space *space, uint64_t address, void *out, size_t length)
{
    if (address + length < address)
        return false;
    if (space->core != NULL)
        return core_read(space->core, address, out, length);
    struct iovec local = {.iov_base = out, .iov_len = length};
    struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = length};
    return may_read(space, address, length) &&
           process_vm_readv(space->thread, &local, 1, &remote, 1, 0) == (ssize_t)length;
}

bool address_space_peek(const struct address_space *space, uint64_t address, void *out, size_t length)
{
    uint64_t page = address - address % CACHED_SIZE;
    if (address + length > page + CACHED_SIZE)
        return address_space_read(space, address, out, length);
    uint64_t number = page / CACHED_SIZE;
    __typeof__(space->cache->pages[0]) *cached = &space->cache->pages[(number ^ number / CACHED_PAGES) % CACHED_PAGES];
    if (cached->page != page) {
        cached->page = page;
        cached->is_read = address_space_read(space, page, cached->bytes, CACHED_SIZE);
    }
    if (cached->is_read)
        memcpy(out, cached->bytes + (address - page), length);
    return cached->is_read;
}

/* The first resident span that ends behind the address. */
static size_t first_resident(const struct address_space *space, uint64_t address)
{
    return span_search(space->resident, space->resident_count, sizeof *space->resident, address);
}

static struct span common(struct span a, struct span b)
{
    return (struct span){a.from > b.from ? a.from : b.from, a.to < b.to ? a.to : b.to};
}

uint64_t address_space_resident(const struct address_space *space, struct span span)
{
    uint64_t bytes = 0;
    if (span.to <= span.from) /* whoever told of it lies */
        return 0;
    for (size_t i = first_resident(space, span.from); i < space->resident_count && space->resident[i].from < span.to;
         i++) {
        struct span part = common(space->resident[i], span);
        bytes += part.to - part.from;
    }
    return bytes;
}

uint64_t address_space_resident_mask(const struct address_space *space, uint64_t address, size_t size, unsigned count)
{
    uint64_t mask = 0;
    size_t at = first_resident(space, address);
    for (unsigned i = 0; i < count && at < space->resident_count; i++, address += size) {
        while (at < space->resident_count && space->resident[at].to <= address)
            at++;
        if (at < space->resident_count && space->resident[at].from <= address)
            mask |= UINT64_C(1) << i;
    }
    return mask;
}

bool address_space_read_resident(const struct address_space *space, uint64_t address, void *out, size_t length)
{
    struct span span = {address, address + length};
    if (span.to < span.from || address_space_find(space, address) == NULL)
        return false;
    memset(out, 0, length);
    for (size_t i = first_resident(space, address); i < space->resident_count && space->resident[i].from < span.to;
         i++) {
        struct span part = common(space->resident[i], span);
        if (!address_space_read(space, part.from, (char *)out + (part.from - address), (size_t)(part.to - part.from)))
            return false;
    }
    return true;
}
