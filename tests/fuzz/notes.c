/* notes.c - fuzzer: the ELF file of a library, which may be hostile. What is taken for a library with probes has each in the file. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../tools/hkstat/library.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct library library;
    int fd = memfd_create("library", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    enum library_found found = library_read(fd, "library", &library);
    close(fd);
    if (library_problem(found)[0] == '\0')
        abort();
    for (unsigned i = 0; found == LIBRARY_OK && i < HK_PROBE_COUNT; i++)
        if ((library.probes[i].site == 0) != (library.probes[i].semaphore == 0))
            abort();
    return 0;
}
