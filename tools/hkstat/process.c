#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "complain.h"
#include "file_system.h"

#define FILES_MAX 512u /* different executable files that one process has mapped */

/* What follows the name in /proc/PID/stat, whatever the name has in it: field 3 and those behind it, in line, of `size` bytes. */
static const char *stat_fields(pid_t pid, char *line, size_t size)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
    FILE *stat = fopen(name, "re");
    if (stat == NULL)
        return NULL;
    size_t length = fread(line, 1, size - 1, stat);
    fclose(stat);
    line[length] = '\0';
    const char *name_end = strrchr(line, ')');
    return name_end != NULL ? name_end + 1 : NULL;
}

/* Field `number` of proc(5)'s list, 4 or more. */
static bool stat_field(pid_t pid, unsigned number, uint64_t *value)
{
    char line[1024], *end;
    const char *field = stat_fields(pid, line, sizeof line);
    for (unsigned i = 3; field != NULL && i <= number; i++) {
        field = strchr(field, ' ');
        field += field != NULL;
    }
    if (field == NULL)
        return false;
    *value = strtoull(field, &end, 10);
    return end != field;
}

bool process_start_time(pid_t pid, uint64_t *start_time)
{
    if (!stat_field(pid, 22, start_time))
        return false;
    *start_time *= 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    return true;
}

uint64_t process_stack_start(pid_t pid)
{
    uint64_t address = 0;
    return stat_field(pid, 28, &address) ? address : 0;
}

static bool has_memory(pid_t thread)
{
    char name[64], target[1];
    snprintf(name, sizeof name, "/proc/%d/exe", (int)thread);
    return readlink(name, target, sizeof target) >= 0 || errno != ENOENT;
}

pid_t process_thread(pid_t pid)
{
    char name[64];
    if (has_memory(pid))
        return pid;
    snprintf(name, sizeof name, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(name);
    pid_t found = pid;
    for (struct dirent *entry; found == pid && tasks != NULL && (entry = readdir(tasks)) != NULL;) {
        pid_t thread = (pid_t)atoi(entry->d_name);
        if (thread > 0 && thread != pid && has_memory(thread))
            found = thread;
    }
    if (tasks != NULL)
        closedir(tasks);
    return found;
}

bool process_can_be_watched_alone(pid_t pid)
{
    if (process_thread(pid) == pid)
        return true;
    complain("process %d can't be watched by its number, since its main thread has ended; hkstat attach --library FILE "
             "watches all that "
             "have the library",
             (int)pid);
    return false;
}

/* A file mapped by a process, as /proc/PID/maps tells it. */
struct mapped_file {
    unsigned long long from, to; /* the mapping's addresses */
    dev_t device;
    ino_t inode;
    bool is_executable; /* the mapping */
    char path[PATH_MAX];
};

/* "FROM-TO PERMISSIONS OFFSET MAJOR:MINOR INODE PATH": false unless it is of a file. */
static bool parse_mapping(const char *line, struct mapped_file *file)
{
    char permissions[5];
    unsigned major_number, minor_number;
    unsigned long long inode;
    int path = 0;
    if (sscanf(line, "%llx-%llx %4s %*x %x:%x %llu %n", &file->from, &file->to, permissions, &major_number,
               &minor_number, &inode, &path) != 6 ||
        path == 0 || inode == 0 || line[path] != '/')
        return false;
    file->device = makedev(major_number, minor_number);
    file->inode = (ino_t)inode;
    file->is_executable = permissions[2] == 'x';
    snprintf(file->path, sizeof file->path, "%.*s", (int)strcspn(line + path, "\n"), line + path);
    return true;
}

static bool is_deleted(const struct mapped_file *file)
{
    static const char mark[] = " (deleted)";
    size_t length = strlen(file->path);
    return length >= sizeof mark && strcmp(file->path + length - (sizeof mark - 1), mark) == 0;
}

/* Open a path if it leads to the very file that is mapped. -1 with errno: ESTALE if it is another. */
static int open_same(const char *path, const struct mapped_file *file)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -1;
    /* A file system of subvolumes gives stat(2) a number of each, /proc that of the whole; neither is a disk's. */
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_ino == file->inode &&
        (status.st_dev == file->device || (major(status.st_dev) == 0 && major(file->device) == 0)))
        return fd;
    close(fd);
    errno = ESTALE;
    return -1;
}

static bool is_refusal(int error)
{
    return error == EACCES || error == EPERM;
}

/* Open a mapped file, by whichever way leads to it; *denied says which right was missing if none does. A path may lead
 * elsewhere by now, so it comes second. */
static int open_mapped(pid_t pid, const struct mapped_file *file, enum process_found *denied)
{
    char path[PATH_MAX + 64];
    *denied = file_system_is_served(pid, file->device) ? PROCESS_SERVED : PROCESS_NO_LIBRARY;
    if (*denied == PROCESS_SERVED)
        return -1;
    snprintf(path, sizeof path, "/proc/%d/map_files/%llx-%llx", (int)pid, file->from, file->to);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    bool is_refused = fd < 0 && is_refusal(errno);
    if (fd < 0)
        fd = open_same(file->path, file);
    if (fd >= 0)
        return fd;
    snprintf(path, sizeof path, "/proc/%d/root%s", (int)pid, file->path);
    fd = open_same(path, file);
    if (fd < 0 && is_refusal(errno))
        *denied = PROCESS_ELSEWHERE;
    if (fd < 0 && is_refused && (*denied != PROCESS_ELSEWHERE || is_deleted(file)))
        *denied = PROCESS_DELETED;
    return fd;
}

static bool is_hakmem_by_name(const char *path)
{
    const char *name = strrchr(path, '/');
    return name != NULL && strncmp(name, "/libhakmem", 10) == 0;
}

/* What was found in a process so far. */
struct search {
    pid_t pid;
    struct library *libraries;
    unsigned most, count;
    struct {
        dev_t device;
        ino_t inode;
    } seen[FILES_MAX];
    unsigned seen_count;
    enum process_found problem; /* what stood in the way of a file that may be the library */
    bool sure;                  /* it is the library, by its name or its notes */
    char *path;                 /* of that file */
};

static bool seen_before(struct search *search, const struct mapped_file *file)
{
    for (unsigned i = 0; i < search->seen_count; i++)
        if (search->seen[i].device == file->device && search->seen[i].inode == file->inode)
            return true;
    if (search->seen_count < FILES_MAX) {
        search->seen[search->seen_count].device = file->device;
        search->seen[search->seen_count].inode = file->inode;
        search->seen_count++;
    }
    return false;
}

static void note_problem(struct search *search, enum process_found problem, const char *path, bool sure)
{
    if (search->sure || (search->problem != PROCESS_NO_LIBRARY && !sure))
        return;
    search->problem = problem;
    search->sure = sure;
    snprintf(search->path, HK_PATH_LENGTH, "%.*s", (int)HK_PATH_LENGTH - 1, path);
}

static void look_into(struct search *search, const struct mapped_file *file)
{
    struct library library;
    enum process_found denied;
    int fd = open_mapped(search->pid, file, &denied);
    if (fd < 0) {
        if (denied != PROCESS_NO_LIBRARY)
            note_problem(search, denied, file->path, is_hakmem_by_name(file->path));
        return;
    }
    enum library_found found = library_read(fd, file->path, &library);
    if (found == LIBRARY_OK && search->count < search->most) {
        search->libraries[search->count++] = library;
        return;
    }
    close(fd);
    if (found == LIBRARY_OTHER_ABI)
        note_problem(search, PROCESS_OTHER_ABI, file->path, true);
    else if (found == LIBRARY_NO_PROBES && is_hakmem_by_name(file->path))
        note_problem(search, PROCESS_WITHOUT_PROBES, file->path, true);
}

/* Its memory map; NULL with errno. */
static FILE *open_maps(pid_t thread)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/%d/maps", (int)thread);
    return fopen(name, "re");
}

int process_open_mapped(pid_t pid, uint64_t address, char *path)
{
    pid_t thread = process_thread(pid);
    struct mapped_file file;
    enum process_found denied;
    FILE *maps = open_maps(thread);
    char *line = NULL;
    size_t size = 0;
    int fd = -1;
    while (maps != NULL && getline(&line, &size, maps) > 0)
        if (parse_mapping(line, &file) && address >= file.from && address < file.to) {
            fd = open_mapped(thread, &file, &denied);
            snprintf(path, HK_PATH_LENGTH, "%.*s", (int)HK_PATH_LENGTH - 1, file.path);
            break;
        }
    free(line);
    if (maps != NULL)
        fclose(maps);
    return fd;
}

enum process_found library_of_process(pid_t pid, struct library *libraries, unsigned most, unsigned *count, char *path)
{
    struct search search = {
        .pid = process_thread(pid), .libraries = libraries, .most = most, .problem = PROCESS_NO_LIBRARY, .path = path};
    struct mapped_file file;
    char *line = NULL;
    size_t size = 0;
    *count = 0;
    path[0] = '\0';
    FILE *maps = open_maps(search.pid);
    if (maps == NULL)
        return errno == EACCES || errno == EPERM ? PROCESS_CLOSED : PROCESS_NONE;
    while (getline(&line, &size, maps) > 0)
        if (parse_mapping(line, &file) && file.is_executable && !seen_before(&search, &file))
            look_into(&search, &file);
    bool failed = ferror(maps) != 0;
    free(line);
    fclose(maps);
    *count = search.count;
    if (search.count > 0)
        return PROCESS_OK;
    return failed ? PROCESS_NONE : search.problem;
}

void process_explain(pid_t pid, enum process_found found, const char *path)
{
    switch (found) {
    case PROCESS_OK:
        break;
    case PROCESS_NONE:
        complain("no process %d", (int)pid);
        break;
    case PROCESS_CLOSED:
        complain("process %d may not be looked into: %s", (int)pid,
                 has_capability(CAP_SYS_PTRACE) ? "the kernel protects it" : "CAP_SYS_PTRACE is missing");
        break;
    case PROCESS_NO_LIBRARY:
        complain("process %d does not use hakmem: none of the files it has mapped has hakmem's probes", (int)pid);
        break;
    case PROCESS_ELSEWHERE:
        complain("process %d has %s from another mount namespace: CAP_SYS_PTRACE is missing", (int)pid, path);
        break;
    case PROCESS_DELETED:
        complain("process %d has %s, which was deleted or replaced since: %s is missing", (int)pid, path,
                 has_capability(CAP_CHECKPOINT_RESTORE) ? "CAP_DAC_READ_SEARCH (it is another user's)"
                                                        : "CAP_CHECKPOINT_RESTORE");
        break;
    case PROCESS_SERVED:
        complain(
            "process %d has %s on a file system that another process serves (FUSE), and a look at it may never end: "
            "name it by --library",
            (int)pid, path);
        break;
    case PROCESS_OTHER_ABI:
        complain("process %d: %s %s", (int)pid, path, library_problem(LIBRARY_OTHER_ABI));
        break;
    case PROCESS_WITHOUT_PROBES:
        complain("process %d: %s %s", (int)pid, path, library_problem(LIBRARY_NO_PROBES));
        break;
    }
}
