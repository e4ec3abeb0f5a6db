#include "links.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* bpf(2), BPF_LINK_CREATE of a uprobe_multi link. */
struct uprobe_multi_attr {
    uint32_t program, target, attach_type, flags;
    uint64_t path, offsets, semaphores, cookies;
    uint32_t count, multi_flags, pid;
    uint32_t padding;
};

static int create_multi(int program, const char *path, const struct probe_site *probe, pid_t pid)
{
    struct uprobe_multi_attr attr = {
        .program = (uint32_t)program,
        .attach_type = LINKS_UPROBE_MULTI,
        .path = (uintptr_t)path,
        .offsets = (uintptr_t)&probe->site,
        .semaphores = (uintptr_t)&probe->semaphore,
        .count = 1,
        .pid = (uint32_t)pid,
    };
    return (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, offsetof(struct uprobe_multi_attr, padding));
}

bool links_have_multi(void)
{
    const struct bpf_insn code[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
        {.code = BPF_JMP | BPF_EXIT},
    };
    const struct probe_site nowhere = {0, 0};
    LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = (enum bpf_attach_type)LINKS_UPROBE_MULTI);
    int program = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "links_multi", "GPL", code, 2, &options);
    if (program < 0)
        return false;
    /* A folder has no probes: EBADF is what a kernel says that has come as far as the path. */
    int link = create_multi(program, "/", &nowhere, 0), error = errno;
    close(program);
    if (link >= 0)
        close(link);
    return link < 0 && error == EBADF;
}

static int perf_type(void)
{
    int type = -1;
    FILE *file = fopen("/sys/bus/event_source/devices/uprobe/type", "re");
    if (file == NULL)
        return -1;
    if (fscanf(file, "%d", &type) != 1) {
        type = -1;
        errno = ENODEV;
    }
    fclose(file);
    return type;
}

static int create_perf(int program, const char *path, const struct probe_site *probe, pid_t pid)
{
    int type = perf_type();
    if (type < 0)
        return -1;
    struct perf_event_attr attr = {
        .type = (uint32_t)type,
        .size = sizeof attr,
        .config = probe->semaphore << 32,
        .config1 = (uintptr_t)path,
        .config2 = probe->site,
    };
    int event =
        (int)syscall(SYS_perf_event_open, &attr, pid == 0 ? -1 : pid, pid == 0 ? 0 : -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (event < 0)
        return -1;
    int link = bpf_link_create(program, event, BPF_PERF_EVENT, NULL), error = errno;
    close(event); /* the link keeps it */
    errno = error;
    return link < 0 ? -1 : link;
}

int links_attach(enum hk_link_kind kind, int program, const struct library *library, const struct probe_site *site,
                 pid_t pid)
{
    char path[64]; /* the file that was looked into, whatever its path leads to by now */
    snprintf(path, sizeof path, "/proc/self/fd/%d", library->fd);
    int link = kind == HK_LINK_UPROBE_MULTI ? create_multi(program, path, site, pid)
                                            : create_perf(program, path, site, pid);
    if (link >= 0)
        fcntl(link, F_SETFD, FD_CLOEXEC);
    return link;
}
