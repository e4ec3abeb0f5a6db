/* links.h - attaching a program to a probe, in a way that can be pinned. */
#ifndef HKSTAT_LINKS_H
#define HKSTAT_LINKS_H

#include <stdbool.h>
#include <sys/types.h>

#include "library.h"

/* The attach type of programs for uprobe_multi links; libbpf 1.1 and its headers lack it. */
#define LINKS_UPROBE_MULTI 48

/* Whether the kernel has uprobe_multi links (Linux 6.6). */
bool links_have_multi(void);

/* Attach a program to one probe of a file (library->probes[i] or its like), in one process, or in all that map it if pid is 0. Returns the link's file
 * descriptor; -1 with errno. */
int links_attach(enum hk_link_kind kind, int program, const struct library *library, const struct probe_site *site,
                 pid_t pid);

#endif
