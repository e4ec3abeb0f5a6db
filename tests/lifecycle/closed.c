/* closed - started with no descriptor at all, 0, 1 and 2 included: the first files that it opens get them, nothing but what
 * the program writes gets there, and the allocator holds no descriptor of its own.
 *
 *   closed FILE      (is written) */
#include <sys/syscall.h>

#include "../behaviour/check.h"

static int check(const char *path)
{
    for (int fd = 0; fd < 1000; fd++)
        if (fcntl(fd, F_GETFD) != -1)
            return 3;
    for (int want = 0; want < 3; want++)
        if (open(path, O_RDWR | O_CREAT | O_APPEND, 0600) != want)
            return 4;
    void *blocks[500];
    for (size_t i = 0; i < 500; i++)
        if ((blocks[i] = malloc(1 + i * i * 4)) == NULL)
            return 5;
    for (size_t i = 0; i < 500; i++)
        free(blocks[i]);
    if (open("/dev/null", O_RDONLY) != 3)
        return 6;
    if (write(2, "mine\n", 5) != 5)
        return 7;
    char text[100];
    return lseek(0, 0, SEEK_SET) == 0 && read(0, text, sizeof(text)) == 5 && memcmp(text, "mine\n", 5) == 0 ? 0 : 8;
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return check(argv[1]);
    if (argc != 2 || syscall(SYS_close_range, 0u, ~0u, 0u) != 0)
        return 2;
    execl("/proc/self/exe", argv[0], argv[1], "check", (char *)NULL);
    return 9;
}
