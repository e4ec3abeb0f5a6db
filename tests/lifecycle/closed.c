/* closed - started with descriptors 0, 1 and 2 closed: the first files that it opens get them, and nothing but what the
 * program writes gets there. The allocator holds no descriptor itself.
 *
 *   closed FILE      (written; read back) */
#include "../behaviour/check.h"

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    for (int want = 0; want < 3; want++)
        if (open(argv[1], O_RDWR | O_CREAT | O_APPEND, 0600) != want)
            return 3;
    for (int fd = 3; fd < 1000; fd++)
        if (fcntl(fd, F_GETFD) != -1)
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
