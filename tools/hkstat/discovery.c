#include "discovery.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "complain.h"
#include "process.h"

static bool fail(const char *path)
{
    complain("can't look for processes that use %s: %s", path, strerror(errno));
    return false;
}

bool discovery_want(const struct collection *collection, const struct library *library, pid_t pid)
{
    struct hk_wanted_library wanted = {
        .pid = (uint64_t)pid,
        .tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK),
        .page_size = (uint64_t)sysconf(_SC_PAGESIZE),
        .site = library->probes[HK_PROBE_IDX_cache_report].site,
        .account = library->account,
    };
    if (library->account == 0 || (pid != 0 && !process_start_time(pid, &wanted.start_time)))
        return true;
    void *mapping = mmap(NULL, wanted.page_size, PROT_READ, MAP_PRIVATE, library->fd, 0);
    if (mapping == MAP_FAILED)
        return fail(library->path);
    wanted.mapping = (uintptr_t)mapping;
    LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &wanted, .ctx_size_in = sizeof wanted);
    int error = bpf_prog_test_run_opts(collection->name_library, &options);
    munmap(mapping, wanted.page_size);
    if (error == 0 && (int)options.retval < 0)
        errno = -(int)options.retval;
    return (error == 0 && options.retval == 0) || fail(library->path);
}

/* The addresses of inodes would be another file's once these are gone. */
static void forget(int libraries)
{
    char key[2 * sizeof(uint64_t)];
    while (bpf_map_get_next_key(libraries, NULL, key) == 0 && bpf_map_delete_elem(libraries, key) == 0)
        continue;
}

bool discovery_run(const struct collection *collection)
{
    char bytes[64];
    ssize_t got = -1;
    int link = bpf_link_create(collection->find_account, 0, BPF_TRACE_ITER, NULL);
    int all = link >= 0 ? bpf_iter_create(link) : -1;
    if (all >= 0)
        do
            got = read(all, bytes, sizeof bytes);
        while (got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN)));
    int error = errno;
    if (all >= 0)
        close(all);
    if (link >= 0)
        close(link);
    forget(collection->libraries);
    errno = error;
    return got == 0 || fail("hakmem");
}
