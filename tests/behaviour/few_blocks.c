/* few_blocks - a program that allocates a few blocks: prints its peak RSS (VmHWM) in KiB. */
#include "check.h"

int main(void)
{
    static const size_t sizes[] = {1, 24, 100, 1000, 5000, 64, 64, 64, 300};
    void *blocks[sizeof(sizes) / sizeof(sizes[0])];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        memset(blocks[i] = take(sizes[i]), 1, sizes[i]);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        free(blocks[i]);

    char text[4096], answer[32];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    require(length > 0, "can't read /proc/self/status");
    text[length] = '\0';
    const char *peak = strstr(text, "VmHWM:");
    require(peak != NULL, "/proc/self/status has no VmHWM");
    int answer_length = snprintf(answer, sizeof(answer), "%llu\n", strtoull(peak + 6, NULL, 10));
    return write(STDOUT_FILENO, answer, (size_t)answer_length) == answer_length ? 0 : 1;
}
