/* process.h - a process as the loader sees it: which files with hakmem's probes it has mapped, and when it began. */
#ifndef HKSTAT_PROCESS_H
#define HKSTAT_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "library.h"

/* When the process began, in nanoseconds since boot, in whole clock ticks. False: there is no such process. */
bool process_start_time(pid_t pid, uint64_t *start_time);

/* Where its main thread's stack begins: a random address, another after each exec. 0: unknown. */
uint64_t process_stack_start(pid_t pid);

/* The thread by which /proc and process_vm_readv(2) know the process's memory: `pid` itself, but another thread's number where the main
 * thread has ended (pthread_exit in main), of which nothing is left. Of a process without memory: pid. */
pid_t process_thread(pid_t pid);

/* Whether the kernel can watch it and no other: it can't where the main thread has ended. False after a message that says what to do. */
bool process_can_be_watched_alone(pid_t pid);

/* Open the file that the process has mapped at an address, in whatever mount namespace, deleted or not. Its path, as the process has
 * it, to path, of HK_PATH_LENGTH bytes. -1: there is none, or it may not be read. */
int process_open_mapped(pid_t pid, uint64_t address, char *path);

/* What a look into a process gave. */
enum process_found {
    PROCESS_OK,
    PROCESS_NONE,          /* no such process, or it ended meanwhile */
    PROCESS_CLOSED,        /* its memory map may not be read: CAP_SYS_PTRACE */
    PROCESS_NO_LIBRARY,    /* none of its files has the probes */
    PROCESS_ELSEWHERE,     /* its file is in another mount namespace: CAP_SYS_PTRACE */
    PROCESS_DELETED,       /* its file was deleted or replaced: CAP_CHECKPOINT_RESTORE */
    PROCESS_SERVED,        /* its file is on a file system that a process serves: a look at it may never end */
    PROCESS_OTHER_ABI,     /* its library's probes are not those that this tool knows */
    PROCESS_WITHOUT_PROBES /* its library was built without probes */
};

/* Find the files with hakmem's probes that a process has mapped: at most `most`, their number to *count. Each is opened by
 * /proc/PID/map_files, or by its path, or by that path below /proc/PID/root, whichever is the very file that is mapped.
 * Anything but PROCESS_OK: *count is 0, and path, of HK_PATH_LENGTH bytes, names the file in question if there is one. */
enum process_found library_of_process(pid_t pid, struct library *libraries, unsigned most, unsigned *count, char *path);

/* A message of what library_of_process() gave, and what to do; PROCESS_OK: none. */
void process_explain(pid_t pid, enum process_found found, const char *path);

#endif
