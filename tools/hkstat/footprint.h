/* footprint.h - what each resident byte of a process is used for, from the allocator's own tables: footprint.def names the uses.
 *
 *   sum of bytes over the rows  =  the resident pages of the address space
 *
 * A process that runs goes on meanwhile: blocks that move from one use to another in that time are told by either. */
#ifndef HKSTAT_FOOTPRINT_H
#define HKSTAT_FOOTPRINT_H

#include "address_space.h"
#include "occupancy.h"
#include "src/account.h"

#define FOOTPRINT_ERROR_SIZE 512

enum footprint_row {
#define FOOTPRINT_ROW(name, title, whose, meaning) FOOTPRINT_##name,
#include "footprint.def"
#undef FOOTPRINT_ROW
    FOOTPRINT_ROWS
};

enum footprint_whose { FOOTPRINT_LIVE, FOOTPRINT_KEPT, FOOTPRINT_NEEDED, FOOTPRINT_OTHER };

struct footprint_row_text {
    const char *name, *title, *meaning;
    enum footprint_whose whose;
};
extern const struct footprint_row_text footprint_rows[FOOTPRINT_ROWS];

/* Of a class that thread caches hold. Numbers of blocks. */
struct footprint_class {
    uint64_t block_size; /* bytes */
    uint64_t live, cached, chained, quarantined, free;
    uint64_t slabs;
    uint64_t sparse_slabs; /* of them with a quarter of their blocks in use at most, but any */
    uint64_t resident;     /* bytes of all its slabs */
};

/* Of a class of ACE's, the last being that of huge blocks. */
struct footprint_large {
    uint64_t block_size;                     /* bytes; 0: huge */
    uint64_t live, cached;                   /* blocks */
    uint64_t live_resident, cached_resident; /* bytes */
};
#define FOOTPRINT_LARGE_CLASSES (HK_ACCOUNT_CLASSES - HK_CACHED_CLASSES)

struct footprint_thread {
    uint32_t tid;    /* in the process's own pid namespace */
    uint64_t blocks; /* in its cache */
    uint64_t bytes;  /* of those, resident */
};

struct footprint_superslab {
    struct occupancy_superslab occupancy;
    uint64_t resident; /* bytes */
};

#define FOOTPRINT_FAILURE_KINDS 2u
#define FOOTPRINT_FRAMES 24u

/* Of the flight recorder: src/failures.h. */
struct footprint_failure {
    unsigned kind;
    uint64_t time_ns; /* CLOCK_MONOTONIC */
    uint64_t size;    /* bytes that were asked for */
    uint32_t error;   /* errno */
    uint32_t limit;   /* that was hit: footprint_limit() names it */
    uint32_t tid;     /* 0: not known */
    unsigned depth;
    uint64_t frames[FOOTPRINT_FRAMES]; /* return addresses, from the inside out */
};

#define FOOTPRINT_HOLDERS 3u /* stacks that are kept of each class */

/* Of hkheap's samples: a call stack that holds live blocks of a class. */
struct footprint_holder {
    uint64_t block_size; /* bytes */
    double block_bytes;  /* live, in block sizes; estimated */
    unsigned depth;
    char *frames[FOOTPRINT_FRAMES]; /* safe text, from the inside out */
};

struct footprint {
    uint64_t bytes[FOOTPRINT_ROWS]; /* resident, by use */
    uint64_t live_bytes;   /* of the blocks that the program holds, resident or not, in the sizes of their classes */
    uint64_t trim_bytes;   /* resident bytes that malloc_trim(0), called by the main thread, would give back */
    uint64_t generation;   /* the account's: when the process began, or the fork of it; ns of CLOCK_MONOTONIC */
    uint64_t mapped_bytes; /* by the allocator, resident or not */
    struct footprint_class classes[HK_CACHED_CLASSES];
    struct footprint_large large[FOOTPRINT_LARGE_CLASSES];
    struct footprint_thread *threads;
    size_t thread_count;
    struct footprint_superslab *superslabs; /* in order of address */
    size_t superslab_count;
    uint64_t failure_counts[FOOTPRINT_FAILURE_KINDS];
    struct footprint_failure *failures; /* of each kind the last ones, the latest first */
    size_t failure_count;
    bool has_samples;                 /* the rest of these is set: */
    double slack_share;               /* of live blocks' bytes, what was not asked for; estimated */
    struct footprint_holder *holders; /* by class, in each those with most first */
    size_t holder_count;
    uint64_t unreadable; /* tables or parts of them that could not be read, or told what can't be */
};

/* Read it. False: `error`, of FOOTPRINT_ERROR_SIZE bytes, says why not. */
bool footprint_read(struct address_space *space, struct footprint *footprint, char *error);

/* Add what a record of hkheap's tells of the process. False: `error`, of FOOTPRINT_ERROR_SIZE bytes, says why not. */
bool footprint_read_samples(const char *path, uint64_t pid, struct footprint *footprint, char *error);
void footprint_free_samples(struct footprint *footprint); /* for footprint_free() */

/* For footprint_read(): the flight recorder at an address. */
void footprint_read_failures(const struct address_space *space, uint64_t at, struct footprint *footprint);

/* Names of kinds of failures, and of limits (any number); a return address as file and offset in it. */
extern const char *const footprint_failure_kinds[FOOTPRINT_FAILURE_KINDS];
const char *footprint_limit(uint32_t limit);
void footprint_frame(const struct address_space *space, uint64_t address, char *text, size_t size);

void footprint_free(struct footprint *footprint);

/* The sums over the rows of one kind, and over all that the allocator has. */
uint64_t footprint_of(const struct footprint *footprint, enum footprint_whose whose);
uint64_t footprint_allocator(const struct footprint *footprint);

/* Why the allocator holds more than what is live, in a sentence or two; and what can be done. text: of `size` bytes. */
void footprint_cause(const struct footprint *footprint, char *text, size_t size);

#endif
