#include "pins.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "complain.h"

static const char *const map_names[] = {"accounts", "caps",   "processes", "ended", "summary",
                                        "lost",     "events", "targets",   "stacks"};
#define MAP_COUNT (sizeof map_names / sizeof map_names[0])

bool pins_path(char path[PINS_PATH_MAX], const char *dir, const char *format, ...)
{
    int length = snprintf(path, PINS_PATH_MAX, "%s/", dir), more;
    if (length >= PINS_PATH_MAX)
        return false;
    va_list args;
    va_start(args, format);
    more = vsnprintf(path + length, (size_t)(PINS_PATH_MAX - length), format, args);
    va_end(args);
    return length + more < PINS_PATH_MAX;
}

/* ---- looking ---- */

int pins_open_map(const char *dir, const char *name, bool writable)
{
    char path[PINS_PATH_MAX];
    LIBBPF_OPTS(bpf_obj_get_opts, options, .file_flags = writable ? 0 : BPF_F_RDONLY);
    if (!pins_path(path, dir, "maps/%s", name)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return bpf_obj_get_opts(path, &options);
}

bool pins_read_summary(const char *dir, struct hk_summary *summary)
{
    struct bpf_map_info info;
    uint32_t length = sizeof info, key = 0;
    int map = pins_open_map(dir, "summary", false);
    if (map < 0)
        return false;
    memset(&info, 0, sizeof info);
    memset(summary, 0, sizeof *summary);
    bool read = bpf_obj_get_info_by_fd(map, &info, &length) == 0 && info.type == BPF_MAP_TYPE_ARRAY &&
                info.key_size == sizeof key && info.value_size == sizeof *summary &&
                bpf_map_lookup_elem(map, &key, summary) == 0 && summary->version == HK_MAPS_VERSION;
    close(map);
    if (!read)
        errno = EPROTO;
    return read;
}

enum pins_state pins_look(const char *dir)
{
    struct hk_summary summary;
    char path[PINS_PATH_MAX];
    if (pins_read_summary(dir, &summary))
        return PINS_OURS;
    if (errno == EPROTO)
        return PINS_FOREIGN;
    if (errno == EACCES || errno == EPERM)
        return PINS_CLOSED;
    /* What a loader left that did not come to its end has no summary. */
    return pins_path(path, dir, "maps/summary") && access(path, F_OK) == 0 ? PINS_FOREIGN : PINS_NONE;
}

bool pins_refresh(const char *dir)
{
    char path[PINS_PATH_MAX], bytes[64];
    ssize_t got = 0;
    if (!pins_path(path, dir, "refresh"))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    do
        got = read(fd, bytes, sizeof bytes);
    while (got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN)));
    close(fd);
    return got == 0;
}

static bool is_bpffs(const char *path)
{
    struct statfs status;
    return statfs(path, &status) == 0 && (unsigned long)status.f_type == BPF_FS_MAGIC;
}

/* The folder that dir lies in. */
static void parent_of(char parent[PINS_PATH_MAX], const char *dir)
{
    size_t length = strlen(dir);
    while (length > 1 && dir[length - 1] == '/')
        length--;
    while (length > 0 && dir[length - 1] != '/')
        length--;
    while (length > 1 && dir[length - 1] == '/')
        length--;
    snprintf(parent, PINS_PATH_MAX, "%.*s", length == 0 ? 1 : (int)length, length == 0 ? "." : dir);
}

bool pins_on_bpffs(const char *dir)
{
    char parent[PINS_PATH_MAX];
    struct stat status;
    if (stat(dir, &status) == 0)
        return is_bpffs(dir);
    parent_of(parent, dir);
    return is_bpffs(parent);
}

/* ---- making ---- */

static int open_folder(const char *dir)
{
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        complain("can't make the pin folder %s: %s", dir, strerror(errno));
        return -1;
    }
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        complain("can't open %s: %s", dir, strerror(errno));
    return fd;
}

/* The lock is on the folder itself, since a bpffs has no plain files. Whoever held it may have removed the folder. */
int pins_lock(const char *dir)
{
    struct stat locked, there;
    if (strlen(dir) + 128 > PINS_PATH_MAX) {
        complain("the path of the pin folder is too long");
        return -1;
    }
    if (!pins_on_bpffs(dir)) {
        complain(
            "%s is not on a BPF file system: mount one by `mount -t bpf bpf /sys/fs/bpf`, or name another by --pin-dir",
            dir);
        return -1;
    }
    for (;;) {
        int fd = open_folder(dir);
        if (fd < 0)
            return -1;
        if (flock(fd, LOCK_EX) == 0 && fstat(fd, &locked) == 0 && stat(dir, &there) == 0 &&
            locked.st_ino == there.st_ino)
            return fd;
        close(fd);
    }
}

bool pins_make_folder(const char *dir, const char *name)
{
    char path[PINS_PATH_MAX];
    if (pins_path(path, dir, "%s", name) && (mkdir(path, 0700) == 0 || errno == EEXIST))
        return true;
    complain("can't make %s/%s: %s", dir, name, strerror(errno));
    return false;
}

/* Readers need to pass a folder wherever they may read. */
static mode_t folder_mode(mode_t mode)
{
    return 0700 | mode | ((mode & 0444) >> 2);
}

static bool allow(const char *path, mode_t mode, gid_t group)
{
    if (group != (gid_t)-1 && chown(path, (uid_t)-1, group) != 0 && errno != ENOENT) {
        complain("can't give %s to group %u: %s", path, (unsigned)group, strerror(errno));
        return false;
    }
    if (chmod(path, mode) != 0 && errno != ENOENT) {
        complain("can't set the mode of %s: %s", path, strerror(errno));
        return false;
    }
    return true;
}

bool pins_allow(const char *dir, const struct pins_access *access)
{
    char path[PINS_PATH_MAX];
    for (size_t i = 0; i < MAP_COUNT; i++)
        if (!pins_path(path, dir, "maps/%s", map_names[i]) || !allow(path, access->mode, access->group))
            return false;
    return pins_path(path, dir, "refresh") && allow(path, access->mode, access->group) &&
           pins_path(path, dir, "maps") && allow(path, folder_mode(access->mode), access->group) &&
           allow(dir, folder_mode(access->mode), access->group);
}

/* ---- removing ---- */

#define HELD_MAX 128u /* links that are open at once */

/* Links whose pins are gone: closing the last descriptor ends a link before close(2) returns. */
struct held_links {
    int fds[HELD_MAX];
    unsigned count;
};

static void *close_link(void *fd)
{
    close(*(int *)fd);
    return NULL;
}

/* At once, each by a thread of its own: the end of a link waits for all processors, some 50 ms. */
static void release(struct held_links *held)
{
    pthread_t threads[HELD_MAX];
    unsigned started = 0;
    while (started < held->count && pthread_create(&threads[started], NULL, close_link, &held->fds[started]) == 0)
        started++;
    for (unsigned i = started; i < held->count; i++)
        close(held->fds[i]);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    held->count = 0;
}

static bool remove_tree(const char *path, struct held_links *held);

static bool remove_entry(const char *path, bool is_folder, struct held_links *held)
{
    if (is_folder)
        return remove_tree(path, held);
    int fd = bpf_obj_get(path);
    if (fd >= 0) {
        if (held->count == HELD_MAX)
            release(held);
        held->fds[held->count++] = fd;
    }
    if (unlink(path) == 0 || errno == ENOENT)
        return true;
    complain("can't remove the pin %s: %s", path, strerror(errno));
    return false;
}

static bool remove_tree(const char *path, struct held_links *held)
{
    char entry[PINS_PATH_MAX];
    DIR *folder = opendir(path);
    struct dirent *found;
    bool removed = true;
    if (folder == NULL) {
        if (errno == ENOENT)
            return true;
        complain("can't open %s: %s", path, strerror(errno));
        return false;
    }
    while ((found = readdir(folder)) != NULL) {
        if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0)
            continue;
        removed = pins_path(entry, path, "%s", found->d_name) && remove_entry(entry, found->d_type == DT_DIR, held) &&
                  removed;
    }
    closedir(folder);
    if (removed && rmdir(path) != 0 && errno != ENOENT) {
        complain("can't remove %s: %s", path, strerror(errno));
        return false;
    }
    return removed;
}

static bool remove_all(const char *path)
{
    struct held_links held = {.count = 0};
    bool removed = remove_tree(path, &held);
    release(&held);
    return removed;
}

bool pins_remove_links(const char *dir, const char *name)
{
    char path[PINS_PATH_MAX];
    return pins_path(path, dir, "links/%s", name) && remove_all(path);
}

/* The links first: what they feed is still whole when the last of them ends. */
bool pins_clear(const char *dir)
{
    static const char *const parts[] = {"links", "programs", "loader", "maps"};
    struct held_links held = {.count = 0};
    char path[PINS_PATH_MAX];
    bool removed = true;
    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++)
        removed = pins_path(path, dir, "%s", parts[i]) && remove_all(path) && removed;
    if (pins_path(path, dir, "refresh") && access(path, F_OK) == 0)
        removed = remove_entry(path, false, &held) && removed;
    release(&held);
    return removed;
}

bool pins_remove(const char *dir)
{
    if (!pins_clear(dir))
        return false;
    if (rmdir(dir) == 0 || errno == ENOENT)
        return true;
    complain("%s holds something that is not of hakmem: it is left there (%s)", dir, strerror(errno));
    return false;
}
