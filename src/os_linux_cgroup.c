/* os_linux_cgroup.c - the memory that the process's control group may use before the kernel kills in it. */
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os.h"
#include "os_format.h"

#define PATH_MOST 512u

/* Up to size - 1 bytes of a file, terminated; 0 when it can't be read. */
static size_t read_file(const char *path, char *buf, size_t size)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    long got = syscall(SYS_read, fd, buf, size - 1);
    syscall(SYS_close, fd);
    buf[got > 0 ? got : 0] = '\0';
    return got > 0 ? (size_t)got : 0;
}

/* A limit file's number; UINT64_MAX for "max", and where there is no such file. */
static uint64_t read_limit(const char *mount, const char *group, const char *file)
{
    char path[PATH_MOST], text[32];
    os_format(path, sizeof path, "%s%s/%s", mount, group, file);
    if (read_file(path, text, sizeof text) == 0 || text[0] < '0' || text[0] > '9')
        return UINT64_MAX;
    uint64_t limit = 0;
    for (const char *c = text; *c >= '0' && *c <= '9'; c++)
        limit = limit * 10 + (uint64_t)(*c - '0');
    return limit;
}

/* The least limit of a group and those that it lies in. Changes group. */
static uint64_t least_limit(const char *mount, char *group, const char *file)
{
    uint64_t least = UINT64_MAX;
    for (;;) {
        uint64_t limit = read_limit(mount, group, file);
        if (limit < least)
            least = limit;
        char *slash = strrchr(group, '/');
        if (slash == NULL)
            return least;
        *slash = '\0';
    }
}

/* One line of /proc/self/cgroup: "ID:CONTROLLERS:GROUP" (cgroups(7)). */
static uint64_t limit_of_line(char *line)
{
    char *controllers = strchr(line, ':');
    char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    if (group == NULL || strlen(group) >= PATH_MOST / 2)
        return UINT64_MAX;
    *group++ = '\0';
    if (controllers[1] != '\0')
        return strcmp(controllers + 1, "memory") == 0
                   ? least_limit("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes")
                   : UINT64_MAX;
    char copy[PATH_MOST];
    os_format(copy, sizeof copy, "%s", group);
    uint64_t unified = least_limit("/sys/fs/cgroup", group, "memory.max");
    uint64_t hybrid = least_limit("/sys/fs/cgroup/unified", copy, "memory.max");
    return unified < hybrid ? unified : hybrid;
}

uint64_t os_memory_limit(void)
{
    char text[2048];
    uint64_t least = UINT64_MAX;
    size_t len = read_file("/proc/self/cgroup", text, sizeof text);
    char *line = text;
    while (len > 0 && *line != '\0') {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end = '\0';
        uint64_t limit = limit_of_line(line);
        if (limit < least)
            least = limit;
        if (end == NULL)
            break;
        line = end + 1;
    }
    return least < os_physical_memory() ? least : UINT64_MAX;
}
