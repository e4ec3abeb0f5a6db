/* collection.h - the BPF programs and their maps: loaded and pinned by the first attach, found by the next. */
#ifndef HKSTAT_COLLECTION_H
#define HKSTAT_COLLECTION_H

#include <stdbool.h>

#include "bpf/hakmem_maps.h"
#include "pins.h"

struct collection_options {
    bool stacks;            /* keep the stacks of failing callers */
    bool perf_events;       /* link by perf events though the kernel has uprobe_multi */
    unsigned max_processes; /* for how many there is room at once; 0: the default */
};

struct collection {
    const char *dir; /* the pin folder, locked */
    bool fresh;      /* made by this call */
    struct hk_summary summary;
    int programs[HK_PROBE_COUNT];
    int targets;                               /* the map */
    int find_account, name_library, libraries; /* the programs and the map of discovery.h */
    struct hakmem *skeleton;                   /* NULL unless fresh */
};

/* Whether the kernel has what it takes, and the process the capabilities. */
bool collection_is_possible(void);

/* Before all that follows: what is in the pin folder is neither made nor opened yet. */
void collection_init(struct collection *collection, const char *dir);

/* Load and pin all but the summary: until collection_publish() no reader takes the pins for whole. */
bool collection_make(struct collection *collection, const struct collection_options *options);

/* Take the programs and maps that are pinned. */
bool collection_open(struct collection *collection);

/* Let the readers in. */
bool collection_publish(struct collection *collection, const struct pins_access *access);

/* Close what is open, also when one of the others has failed: each returns false once a message was written. */
void collection_close(struct collection *collection);

#endif
