/* heap.c - fuzzer: records of hkheap. What is taken for one can be shown in every way, compared, and written and read again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/hkheap/output.h"
#include "tools/hkheap/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A file of its own in memory, by a path. */
static struct profile *read_from(const void *bytes, size_t size)
{
    char path[64], error[PROFILE_ERROR_SIZE];
    int fd = memfd_create("record", 0);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct profile *profile = profile_read(path, error);
    close(fd);
    return profile;
}

static void show(struct profile *profile)
{
    static FILE *nowhere;
    if (nowhere == NULL && (nowhere = fopen("/dev/null", "w")) == NULL)
        abort();
    for (int order = BY_LIVE; order <= BY_GROWTH; order++) {
        profile_sort(profile, (enum profile_order)order);
        output_text(nowhere, profile, (enum profile_order)order, 0);
        output_folded(nowhere, profile, (enum profile_order)order);
        output_svg(nowhere, profile, (enum profile_order)order);
    }
    if (!output_pprof(nowhere, profile))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = NULL;
    size_t length = 0;
    struct profile *profile = read_from(data, size);
    if (profile == NULL)
        return 0;
    show(profile);
    FILE *out = open_memstream(&text, &length);
    if (out == NULL)
        abort();
    output_json(out, profile);
    fclose(out);
    struct profile *again = read_from(text, length);
    if (again != NULL) { /* numbers beyond a double's range are no JSON */
        profile_compare(again, profile);
        show(again);
        profile_free(again);
    }
    profile_free(profile);
    free(text);
    return 0;
}
