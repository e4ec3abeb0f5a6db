/* library.h - the files that carry hakmem's probes, libraries and programs: what their notes say. */
#ifndef HKSTAT_LIBRARY_H
#define HKSTAT_LIBRARY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bpf/hakmem_maps.h"

/* Where a probe is, in bytes from the start of the file; a site of 0: the file doesn't have that probe. */
struct probe_site {
    uint64_t site;
    uint64_t semaphore;
};

/* The probes of sampled allocation, in the order of their table. */
enum sample_probe {
#define HK_SAMPLE_PROBE(source_name, name, n, args, text) HK_PROBE_IDX_##source_name,
#include "probes/sample_probes.def"
#undef HK_SAMPLE_PROBE
    HK_SAMPLE_PROBE_COUNT
};

struct library {
    int fd; /* of the file, to read; the owner closes it */
    dev_t device;
    ino_t inode;
    char path[HK_PATH_LENGTH]; /* by which people know it */
    struct probe_site probes[HK_PROBE_COUNT];
    struct probe_site sample_probes[HK_SAMPLE_PROBE_COUNT];
    uint64_t account; /* of hk_account: as hk_wanted_library has it; 0: the file doesn't say */
};

enum library_found {
    LIBRARY_OK,
    LIBRARY_UNREADABLE, /* errno says why */
    LIBRARY_NOT_ELF,    /* not a program or library of this machine */
    LIBRARY_NO_PROBES,
    LIBRARY_OTHER_ABI, /* its probes are not those that this tool knows */
};

/* Read the probes of an open file. On any result but LIBRARY_OK nothing is kept; the descriptor stays the caller's. */
enum library_found library_read(int fd, const char *path, struct library *library);

/* Open a file and read its probes. */
enum library_found library_open(const char *path, struct library *library);

/* What to say of a file that is not LIBRARY_OK. */
const char *library_problem(enum library_found found);

#endif
