/* address_space.h - the memory of a process that runs, or of one that a core file was written of: what is mapped, what of it is
 * resident, and its bytes. No code of the process runs. Whatever the process or the file holds, nothing goes out of bounds. */
#ifndef HKSTAT_ADDRESS_SPACE_H
#define HKSTAT_ADDRESS_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ADDRESS_SPACE_ERROR_SIZE 512

/* Addresses [from, to). */
struct span {
    uint64_t from, to;
};

/* Of `count` structs of `size` bytes in order of address, each of which begins with its span, the index of the first that ends behind
 * `address`; `count` if none does. */
size_t span_search(const void *structs, size_t count, size_t size, uint64_t address);

struct mapping {
    struct span span;
    bool is_file;       /* mapped from a file; else its pages are the process's alone */
    bool is_executable; /* live: code may run there; core: not known, true for each of a file */
    uint64_t offset;    /* in the file, in bytes */
    dev_t device;       /* live only */
    ino_t inode;        /* live only */
    char *path;         /* of the file; NULL: none, or not known */
};

struct address_space {
    pid_t thread;             /* of a process: by which /proc knows its memory; see process_thread() */
    pid_t pid;                /* of a core file that of the process that was; 0: not known */
    char name[64];            /* of the program, as the kernel has it: any bytes */
    struct mapping *mappings; /* in order of address */
    size_t mapping_count;
    struct span *
        resident; /* pages in memory, in order of address; of a core those that are in the file and hold anything but zeros */
    size_t resident_count;
    uint64_t rss;        /* bytes, by smaps; of a core the sum of `resident` */
    uint64_t huge_bytes; /* of it in transparent huge pages, by smaps; 0 of a core */
    bool is_cut;         /* a core file shorter than it says: what is missing is not resident */
    struct core *core;   /* NULL: a process that runs */
    struct page_cache *cache;
};

/* Of the process `pid`. residency: look at what is resident, too, which takes long where there are many mappings. NULL: `error`, of ADDRESS_SPACE_ERROR_SIZE bytes, says why not and what to do. */
struct address_space *address_space_of_process(pid_t pid, bool residency, char *error);

/* Of an ELF core file, as the kernel or gcore(1) writes it. NULL: as above. */
struct address_space *address_space_of_core(const char *path, char *error);

void address_space_free(struct address_space *space);

/* Copy `length` bytes from `address` on. False: they can't be had whole. Memory that is mapped from a file is read of the one file that
 * address_space_trust() named alone: a file system may wait for the very process that is looked at. */
bool address_space_read(const struct address_space *space, uint64_t address, void *out, size_t length);
void address_space_trust(struct address_space *space, dev_t device, ino_t inode);

/* The same, with zeros for what is not resident: no page of the process comes into being by it. */
bool address_space_read_resident(const struct address_space *space, uint64_t address, void *out, size_t length);

/* Small reads here and there: as above, by way of a cache of pages. */
bool address_space_peek(const struct address_space *space, uint64_t address, void *out, size_t length);

/* The mapping that holds an address, or NULL. */
const struct mapping *address_space_find(const struct address_space *space, uint64_t address);

/* How many bytes of the span are resident. */
uint64_t address_space_resident(const struct address_space *space, struct span span);

/* Which of the `count` (1..64) pieces of `size` bytes from `address` on are: bit i for the i-th, if its first byte is. */
uint64_t address_space_resident_mask(const struct address_space *space, uint64_t address, size_t size, unsigned count);

/* Start and length of what is resident, for whoever fills in an address space. */
void address_space_add_resident(struct address_space *space, struct span span);
struct mapping *address_space_add_mapping(struct address_space *space, struct span span);

#endif
