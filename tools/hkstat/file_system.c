#include "file_system.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The type of the file system of a device that is mounted there, of `size` bytes; false: there is none. */
static bool find_type(const char *mounts, dev_t device, char *type, size_t size)
{
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    FILE *file = fopen(mounts, "re");
    while (!found && file != NULL && getline(&line, &room, file) > 0) {
        unsigned major_number, minor_number;
        const char *dash = strstr(line, " - "); /* after the optional fields; names have their spaces escaped */
        if (dash == NULL || sscanf(line, "%*d %*d %u:%u", &major_number, &minor_number) != 2 ||
            makedev(major_number, minor_number) != device)
            continue;
        snprintf(type, size, "%.*s", (int)strcspn(dash + 3, " "), dash + 3);
        found = true;
    }
    free(line);
    if (file != NULL)
        fclose(file);
    return found;
}

/* Where memfd_create(2) has its files: mounted nowhere, and served by the kernel. */
static dev_t memory_device(void)
{
    static dev_t device;
    struct stat status;
    int fd = device == 0 ? memfd_create("hkstat", MFD_CLOEXEC) : -1;
    if (fd >= 0 && fstat(fd, &status) == 0)
        device = status.st_dev;
    if (fd >= 0)
        close(fd);
    return device;
}

bool file_system_is_served(pid_t pid, dev_t device)
{
    char mounts[64], type[64];
    if (major(device) != 0) /* fuseblk's too is served, but by root */
        return false;
    snprintf(mounts, sizeof mounts, "/proc/%d/mountinfo", (int)pid);
    if (find_type(mounts, device, type, sizeof type) || find_type("/proc/self/mountinfo", device, type, sizeof type))
        return strncmp(type, "fuse", 4) == 0;
    return device != memory_device();
}
