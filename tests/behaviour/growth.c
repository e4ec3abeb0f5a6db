/* growth - a block that grows by realloc takes its pages along: what it holds is resident once at any time.
 *
 *   growth FROM_KIB TO_KIB
 *
 * Grows a block that is written to from end to end by a half each time, with blocks in its way, and looks at the most that
 * was resident (VmHWM) while realloc ran: a copy would have been there beside the block. */
#include "check.h"

static size_t peak_bytes(void)
{
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    require(length > 0, "can't read /proc/self/status");
    close(fd);
    text[length] = '\0';
    const char *peak = strstr(text, "VmHWM:");
    require(peak != NULL, "/proc/self/status has no VmHWM");
    return (size_t)strtoull(peak + 6, NULL, 10) * KIB;
}

int main(int argc, char **argv)
{
    require(argc == 3, "usage: growth FROM_KIB TO_KIB");
    size_t size = strtoull(argv[1], NULL, 10) * KIB, most = strtoull(argv[2], NULL, 10) * KIB;
    unsigned steps = 0, moved = 0;
    void *block = take(size);
    mark(block, size, 7);
    while (size < most) {
        void *in_the_way = take(size);
        size_t next = size + size / 2, before = peak_bytes();
        uintptr_t old = (uintptr_t)block;
        block = opaque(realloc(block, next));
        require(block != NULL, "realloc to %zu failed", next);
        size_t more = peak_bytes() - before;
        require(more < size / 4, "%.1f MiB became resident while %.1f MiB grew", mib(more), mib(size));
        require(check_marked(block, "growth") == size, "another size");
        moved += (uintptr_t)block != old;
        free(in_the_way);
        mark(block, size = next, 7 + ++steps);
    }
    free(block);
    printf("%u steps, %u of them to another place\n", steps, moved);
    return steps == 0;
}
