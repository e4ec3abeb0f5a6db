/* libwitness.c - preloaded before the allocator, it notes at each process's end whose malloc served it: a line
 *     NAME malloc=PATH glibc=BYTES live=BYTES
 * in the file that HAKMEM_WITNESS names. glibc: what glibc's own malloc holds (0: it never served a block); live: what the
 * malloc in force says is in use. Processes that end by _exit or a signal, or may not write there, leave no line. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct mallinfo2 mallinfo2_function(void);

static size_t glibc_bytes(void)
{
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    mallinfo2_function *glibc_mallinfo2 = libc != NULL ? (mallinfo2_function *)dlsym(libc, "mallinfo2") : NULL;
    if (glibc_mallinfo2 == NULL)
        return SIZE_MAX;
    struct mallinfo2 info = glibc_mallinfo2();
    return info.arena + info.hblkhd;
}

__attribute__((destructor)) static void witness(void)
{
    const char *path = getenv("HAKMEM_WITNESS");
    if (path == NULL)
        return;
    int saved_errno = errno;
    Dl_info owner = {.dli_fname = "unknown"};
    (void)dladdr(dlsym(RTLD_NEXT, "malloc"), &owner); /* RTLD_DEFAULT may find a PLT entry of the executable */
    void *volatile own = malloc(100);                 /* a program may have freed all of its own */
    struct mallinfo2 info = mallinfo2();
    free(own);
    char line[4096];
    int len = snprintf(line, sizeof line, "%s malloc=%s glibc=%zu live=%zu\n", program_invocation_short_name,
                       owner.dli_fname, glibc_bytes(), info.uordblks + info.hblkhd);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd >= 0) {
        if (len >= (int)sizeof line || write(fd, line, (size_t)len) != len)
            abort();
        (void)close(fd);
    }
    errno = saved_errno;
}
