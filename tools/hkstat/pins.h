/* pins.h - the pin folder: its layout, who may read it, and the maps in it. bpf/hakmem_maps.h tells what the maps hold. */
#ifndef HKSTAT_PINS_H
#define HKSTAT_PINS_H

#include <stdbool.h>
#include <sys/types.h>

#include "bpf/hakmem_maps.h"

#define PINS_PATH_MAX 4096

enum pins_state {
    PINS_NONE,    /* nothing is pinned there, or what a loader left that was killed */
    PINS_OURS,    /* pins of this version */
    PINS_FOREIGN, /* pins of another version, or of something else */
    PINS_CLOSED,  /* the caller may not read them */
};

/* Who may read the maps. */
struct pins_access {
    mode_t mode; /* permission bits of a map's pin; a folder's are made from them */
    gid_t group; /* (gid_t)-1: as it is */
};

/* Write "DIR/" and the rest to path. False: it is too long. */
bool pins_path(char path[PINS_PATH_MAX], const char *dir, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What is in a pin folder. */
enum pins_state pins_look(const char *dir);

/* Open a pinned map, to read only or to write also. -1 with errno. */
int pins_open_map(const char *dir, const char *name, bool writable);

/* Copy the summary. False with errno: EPROTO if it is of another version. */
bool pins_read_summary(const char *dir, struct hk_summary *summary);

/* Bring the pinned accounts up to date for all watched processes. False with errno when that can't be done: the accounts
 * are then as the last reports left them. */
bool pins_refresh(const char *dir);

/* Whether dir, or the folder that it would be made in, is on a bpffs. */
bool pins_on_bpffs(const char *dir);

/* Make the pin folder if it isn't there and lock it against other loaders, waiting for them: until the descriptor that is
 * returned is closed. -1: a message was written. */
int pins_lock(const char *dir);

/* Make a folder in the pin folder. False: a message was written. */
bool pins_make_folder(const char *dir, const char *name);

/* Set group and permissions of all that readers need. False: a message was written. */
bool pins_allow(const char *dir, const struct pins_access *access);

/* Remove DIR/links/NAME and end its links: they have ended when it returns. False: a message was written. */
bool pins_remove_links(const char *dir, const char *name);

/* Remove all that is pinned in the folder and end what that keeps going, in the same way. False: a message was written. */
bool pins_clear(const char *dir);

/* The same, and remove the folder. */
bool pins_remove(const char *dir);

#endif
