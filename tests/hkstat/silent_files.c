/* silent_files.c - a file system with one file, `account`, that is never read to its end:  silent_files FOLDER [OPTION...]. */
#define FUSE_USE_VERSION 31
#include <fuse3/fuse.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int tell_attributes(const char *path, struct stat *attributes, struct fuse_file_info *file)
{
    (void)file;
    memset(attributes, 0, sizeof *attributes);
    if (strcmp(path, "/") == 0) {
        attributes->st_mode = S_IFDIR | 0755;
        return 0;
    }
    attributes->st_mode = S_IFREG | 0644;
    attributes->st_nlink = 1;
    attributes->st_size = 1 << 20;
    return strcmp(path, "/account") == 0 ? 0 : -ENOENT;
}

static int read_bytes(const char *path, char *bytes, size_t size, off_t offset, struct fuse_file_info *file)
{
    (void)path, (void)bytes, (void)size, (void)offset, (void)file;
    while (pause() != 0)
        continue;
    return -EIO;
}

int main(int argc, char **argv)
{
    static const struct fuse_operations operations = {.getattr = tell_attributes, .read = read_bytes};
    return fuse_main(argc, argv, &operations, NULL);
}
