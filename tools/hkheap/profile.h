/* profile.h - what a process's sampled allocations tell, call stack by call stack. Estimates: each sample stands for the bytes that its
 * weight tells, and for weight / size blocks.
 *
 *   live = allocated - freed, of each site       live table: the sampled blocks that were not freed yet
 *
 * Memory is bounded: by the number of different stacks (PROFILE_SITES; the rest are one site) and of sampled blocks that live, which is
 * the live bytes by the sampling mean. Plain memory: one thread at a time. */
#ifndef HKHEAP_PROFILE_H
#define HKHEAP_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROFILE_SITES 20000u
#define PROFILE_DEPTH 128u
#define PROFILE_LIFETIMES 48u /* bucket b: 2^b <= microseconds < 2^(b+1), 0 with 1 in the first */

struct frame {
    uint64_t address;
    uint64_t offset;      /* in the function */
    const char *function; /* NULL: not known; safe text, for ever */
    const char *file;     /* "": not known */
};

struct amount {
    double bytes, blocks;
};

/* Live blocks of one size class. */
struct holding {
    uint64_t block_size; /* bytes */
    double bytes;        /* that were asked for */
    double block_bytes;  /* that the blocks have: the difference is slack */
};

struct site {
    const struct frame *frames; /* innermost first */
    unsigned depth;
    struct amount allocated, live;
    struct holding *holdings; /* by class, in no order */
    unsigned holding_count;
    struct amount before;                /* live at the last profile_mark() */
    double lifetimes[PROFILE_LIFETIMES]; /* freed blocks by how long they lived */
};

struct profile {
    uint64_t pid;
    char command[128];       /* safe text */
    double time, seconds;    /* since the epoch, of the end; how long it was watched */
    bool partial;            /* the process ended, or samples were lost */
    const char *why_partial; /* NULL: it is not */
    uint64_t lost_allocs, lost_frees, thinned, unwound_short;
    struct site **sites;
    size_t site_count;
    void *by_stack, *live; /* trees of tsearch(3) */
    size_t live_count;
    bool knows_armed;       /* of the last time that it could be seen: */
    uint64_t armed, caches; /* armed.h */
};

/* An empty profile, to be ended by profile_free(). Ends the program where memory is refused, as all here. */
struct profile *profile_new(void);
void profile_free(struct profile *profile);

/* The site of a stack; a new one is made. frames are copied. */
struct site *profile_site(struct profile *profile, const struct frame *frames, unsigned depth);

/* A sampled block, at `address`, since `time` ns. */
void profile_alloc(struct profile *profile, struct site *site, uint64_t address, uint64_t size, uint64_t weight,
                   uint64_t time);
void profile_free_block(struct profile *profile, uint64_t address, uint64_t time);

/* The site's blocks of a class; a new one is made. */
struct holding *profile_holding(struct site *site, uint64_t block_size);

/* The live bytes that the classes of blocks add to what was asked for. */
double profile_slack(const struct profile *profile);

/* From now on growth is what has come since. */
void profile_mark(struct profile *profile);

enum profile_order { BY_LIVE, BY_ALLOCATED, BY_GROWTH };

/* Put the sites in order, those with most first. */
void profile_sort(struct profile *profile, enum profile_order order);
double profile_bytes(const struct site *site, enum profile_order order);
struct amount profile_total(const struct profile *profile, enum profile_order order);

/* The very string, kept for ever and once. */
const char *intern(const char *text);

#endif
