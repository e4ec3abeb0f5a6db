/* trace_probes.c - run a program and print every event of every hakmem probe that it fires.
 *
 *   trace_probes [-p PROBE]... [-a BYTES] [-d BYTES] [-e] LIBRARY OUTPUT PROGRAM ARGS...
 *
 *   -p  watch this probe alone, or these    -a, -d  RLIMIT_AS, RLIMIT_DATA of PROGRAM    -e  a perf event for each probe
 *
 * LIBRARY is the file whose probes are watched, in all processes; PROGRAM is started with LD_PRELOAD=LIBRARY, unless it is
 * that file. OUTPUT gets a line for each event, in the order of the ring buffer,
 *
 *   PROBE PID TID ARGUMENT...
 *
 * decimal, and after the arguments of cache_report the words version, length, class_idx and block_size that it points to.
 * The last line is `lost N`. Exits as the program does; 128 + the signal's number if one ended it; 125 when it could not trace.
 *
 * One small BPF program, written here as instructions, is attached to all sites by one uprobe_multi link (or, with -e and
 * before Linux 6.6, by a perf event each). It takes the arguments from the ABI's registers, as the probes promise. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 6
#define PROBES_MAX 64
#define RING_BYTES (8u << 20)
#define UPROBE_MULTI 48 /* BPF_TRACE_UPROBE_MULTI; older headers lack it */

#if defined(__x86_64__)
static const int parameter_offsets[ARGS_MAX] = {112, 104, 96, 88, 72, 64}; /* struct pt_regs: di si dx cx r8 r9 */
#elif defined(__aarch64__)
static const int parameter_offsets[ARGS_MAX] = {0, 8, 16, 24, 32, 40}; /* struct user_pt_regs: x0 to x5 */
#else
#error "the offsets of arguments in struct pt_regs are not known for this architecture"
#endif

struct site {
    char name[64];
    uint64_t address, semaphore; /* first as in the note, then as offsets in the file */
    int args;
    bool is_signed[ARGS_MAX];
};

struct event {
    uint64_t probe; /* index of the site */
    uint32_t tid, pid;
    uint64_t args[ARGS_MAX];
    uint32_t words[4]; /* what the second argument points to, or 0 */
};

static struct site sites[PROBES_MAX];
static int site_count;
static FILE *output;

static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("trace_probes: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(125);
}

/* ---- the notes ---- */

static void add_site(const char *desc, size_t length)
{
    uint64_t words[3]; /* site, base, semaphore */
    const char *end = desc + length, *text = desc + sizeof words;
    if (length < sizeof words + 3 || end[-1] != '\0' || strcmp(text, "hakmem") != 0)
        return;
    if (site_count == PROBES_MAX)
        die("more than %d probes", PROBES_MAX);
    struct site *site = &sites[site_count++];
    memcpy(words, desc, sizeof words);
    site->address = words[0];
    site->semaphore = words[2];
    text += strlen(text) + 1;
    snprintf(site->name, sizeof site->name, "%s", text);
    text += strlen(text) + 1;
    for (const char *at = text; (at = strchr(at, '@')) != NULL; at++) {
        if (site->args == ARGS_MAX)
            die("%s has more than %d arguments", site->name, ARGS_MAX);
        site->is_signed[site->args++] = at - text >= 2 && at[-2] == '-';
    }
}

static uint64_t file_offset(Elf *elf, uint64_t address)
{
    size_t count;
    GElf_Phdr segment;
    if (elf_getphdrnum(elf, &count) != 0)
        die("no program headers");
    for (size_t i = 0; i < count; i++)
        if (gelf_getphdr(elf, (int)i, &segment) != NULL && segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
            address < segment.p_vaddr + segment.p_filesz)
            return address - segment.p_vaddr + segment.p_offset;
    die("no segment has address %#llx", (unsigned long long)address);
    return 0;
}

static void read_sites(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    elf_version(EV_CURRENT);
    Elf *elf = fd >= 0 ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
    if (elf == NULL)
        die("can't read %s", path);
    for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section)) != NULL;) {
        GElf_Shdr header;
        GElf_Nhdr note;
        size_t name, desc, next = 0;
        Elf_Data *data = elf_getdata(section, NULL);
        if (gelf_getshdr(section, &header) == NULL || header.sh_type != SHT_NOTE || data == NULL)
            continue;
        for (size_t at = 0; (next = gelf_getnote(data, at, &note, &name, &desc)) > 0; at = next)
            if (note.n_type == 3 && note.n_namesz == 8 && memcmp((char *)data->d_buf + name, "stapsdt", 8) == 0)
                add_site((char *)data->d_buf + desc, note.n_descsz);
    }
    for (int i = 0; i < site_count; i++) {
        sites[i].address = file_offset(elf, sites[i].address);
        sites[i].semaphore = file_offset(elf, sites[i].semaphore);
    }
    elf_end(elf);
    close(fd);
    if (site_count == 0)
        die("%s has no probes of hakmem", path);
}

static void keep_sites(const char *const *names, int count)
{
    int kept = 0;
    for (int n = 0; n < count; n++) {
        int i = kept;
        while (i < site_count && strcmp(sites[i].name, names[n]) != 0)
            i++;
        if (i == site_count)
            die("no probe %s", names[n]);
        struct site found = sites[i];
        sites[i] = sites[kept];
        sites[kept++] = found;
    }
    if (count > 0)
        site_count = kept;
}

/* ---- the BPF program ---- */

#define R(n) BPF_REG_##n
#define INSN(c, d, s, o, i) \
    ((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (int16_t)(o), .imm = (i)})
#define MOV(d, s) INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOV_IMM(d, i) INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ADD_IMM(d, i) INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define LOAD(d, s, o) INSN(BPF_LDX | BPF_MEM | BPF_DW, d, s, o, 0)
#define LOAD32(d, s, o) INSN(BPF_LDX | BPF_MEM | BPF_W, d, s, o, 0)
#define STORE(d, o, s) INSN(BPF_STX | BPF_MEM | BPF_DW, d, s, o, 0)
#define STORE32(d, o, s) INSN(BPF_STX | BPF_MEM | BPF_W, d, s, o, 0)
#define CALL(f) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_##f)
#define JUMP_IF_NOT_0(d, o) INSN(BPF_JMP | BPF_JNE | BPF_K, d, 0, o, 0)
#define ATOMIC_ADD(d, o, s) INSN(BPF_STX | BPF_ATOMIC | BPF_DW, d, s, o, BPF_ADD)
#define EXIT INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define LOAD_MAP(d, fd) INSN(BPF_LD | BPF_DW | BPF_IMM, d, BPF_PSEUDO_MAP_FD, 0, fd), INSN(0, 0, 0, 0, 0)
#define LOAD_MAP_VALUE(d, fd) INSN(BPF_LD | BPF_DW | BPF_IMM, d, BPF_PSEUDO_MAP_VALUE, 0, fd), INSN(0, 0, 0, 0, 0)
#define LOAD_64(d, x) \
    INSN(BPF_LD | BPF_DW | BPF_IMM, d, 0, 0, (int32_t)(uint32_t)(x)), INSN(0, 0, 0, 0, (int32_t)((uint64_t)(x) >> 32))
#define ARGUMENT(i) LOAD(R(1), R(6), parameter_offsets[i]), STORE(R(7), offsetof(struct event, args[i]), R(1))

/* Pids are those of the tracer's own namespace. */
static int load_program(int ring, int lost, bool multi)
{
    struct stat ns;
    if (stat("/proc/self/ns/pid", &ns) != 0)
        die("no /proc/self/ns/pid");
    struct bpf_insn code[] = {
        MOV(R(6), R(1)),
        LOAD_MAP(R(1), ring),
        MOV_IMM(R(2), sizeof(struct event)),
        MOV_IMM(R(3), 0),
        CALL(ringbuf_reserve),
        JUMP_IF_NOT_0(R(0), 6),
        LOAD_MAP_VALUE(R(1), lost),
        MOV_IMM(R(2), 1),
        ATOMIC_ADD(R(1), 0, R(2)),
        MOV_IMM(R(0), 0),
        EXIT,
        MOV(R(7), R(0)),
        ARGUMENT(0),
        ARGUMENT(1),
        ARGUMENT(2),
        ARGUMENT(3),
        ARGUMENT(4),
        ARGUMENT(5),
        MOV(R(1), R(6)),
        CALL(get_attach_cookie),
        STORE(R(7), offsetof(struct event, probe), R(0)),
        /* struct bpf_pidns_info { u32 pid, tgid; } on the stack */
        LOAD_64(R(1), ns.st_dev),
        LOAD_64(R(2), ns.st_ino),
        MOV(R(3), R(10)),
        ADD_IMM(R(3), -8),
        MOV_IMM(R(4), 8),
        CALL(get_ns_current_pid_tgid),
        LOAD32(R(1), R(10), -8),
        STORE32(R(7), offsetof(struct event, tid), R(1)),
        LOAD32(R(1), R(10), -4),
        STORE32(R(7), offsetof(struct event, pid), R(1)),
        MOV(R(1), R(7)),
        ADD_IMM(R(1), offsetof(struct event, words)),
        MOV_IMM(R(2), sizeof(((struct event *)0)->words)),
        LOAD(R(3), R(7), offsetof(struct event, args[1])),
        CALL(probe_read_user),
        MOV(R(1), R(7)),
        MOV_IMM(R(2), 0),
        CALL(ringbuf_submit),
        MOV_IMM(R(0), 0),
        EXIT,
    };
    char log[65536] = "";
    LIBBPF_OPTS(bpf_prog_load_opts, options, .log_buf = log, .log_size = sizeof log, .log_level = 1,
                .expected_attach_type = multi ? (enum bpf_attach_type)UPROBE_MULTI : 0);
    int fd = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "trace_probes", "GPL", code, sizeof code / sizeof code[0], &options);
    if (fd < 0 && !multi)
        die("the kernel refuses the program: %s\n%s", strerror(errno), log);
    return fd;
}

/* ---- attaching ---- */

/* bpf(2), BPF_LINK_CREATE for uprobe_multi. */
struct uprobe_multi_attr {
    uint32_t prog_fd, target_fd, attach_type, flags;
    uint64_t path, offsets, ref_ctr_offsets, cookies;
    uint32_t count, multi_flags, pid;
    uint32_t padding;
};

static bool attach_multi(const char *path, int ring, int lost)
{
    uint64_t offsets[PROBES_MAX], semaphores[PROBES_MAX], cookies[PROBES_MAX];
    int program = load_program(ring, lost, true);
    if (program < 0)
        return false;
    for (int i = 0; i < site_count; i++) {
        offsets[i] = sites[i].address;
        semaphores[i] = sites[i].semaphore;
        cookies[i] = (uint64_t)i;
    }
    struct uprobe_multi_attr attr = {
        .prog_fd = (uint32_t)program,
        .attach_type = UPROBE_MULTI,
        .path = (uintptr_t)path,
        .offsets = (uintptr_t)offsets,
        .ref_ctr_offsets = (uintptr_t)semaphores,
        .cookies = (uintptr_t)cookies,
        .count = (uint32_t)site_count,
    };
    int link = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, offsetof(struct uprobe_multi_attr, padding));
    close(program);
    return link >= 0 && fcntl(link, F_SETFD, FD_CLOEXEC) == 0;
}

static void attach_each(const char *path, int ring, int lost)
{
    unsigned type;
    int program = load_program(ring, lost, false);
    FILE *file = fopen("/sys/bus/event_source/devices/uprobe/type", "re");
    if (file == NULL || fscanf(file, "%u", &type) != 1)
        die("the kernel has no uprobes");
    fclose(file);
    for (int i = 0; i < site_count; i++) {
        struct perf_event_attr attr = {
            .type = type,
            .size = sizeof attr,
            .config = sites[i].semaphore << 32,
            .config1 = (uintptr_t)path,
            .config2 = sites[i].address,
        };
        LIBBPF_OPTS(bpf_link_create_opts, options, .perf_event.bpf_cookie = (uint64_t)i);
        int event = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
        if (event < 0 || bpf_link_create(program, event, BPF_PERF_EVENT, &options) < 0)
            die("can't attach to %s: %s", sites[i].name, strerror(errno));
    }
}

/* ---- events ---- */

static int print_event(void *ctx, void *data, size_t size)
{
    const struct event *event = data;
    (void)ctx;
    if (size < sizeof *event || event->probe >= (uint64_t)site_count)
        die("an event that is none");
    const struct site *site = &sites[event->probe];
    fprintf(output, "%s %u %u", site->name, event->pid, event->tid);
    for (int i = 0; i < site->args; i++) {
        if (site->is_signed[i])
            fprintf(output, " %lld", (long long)event->args[i]);
        else
            fprintf(output, " %llu", (unsigned long long)event->args[i]);
    }
    if (strcmp(site->name, "cache_report") == 0)
        for (int i = 0; i < 4; i++)
            fprintf(output, " %u", event->words[i]);
    fputc('\n', output);
    return 0;
}

static void limit(int resource, const char *bytes)
{
    struct rlimit limit = {strtoull(bytes, NULL, 10), strtoull(bytes, NULL, 10)};
    if (setrlimit(resource, &limit) != 0)
        die("can't set a limit of %s bytes", bytes);
}

struct options {
    const char *probes[PROBES_MAX];
    int probe_count;
    const char *address_space, *data;
    bool each;
};

static struct options parse(int argc, char **argv)
{
    struct options options = {.probe_count = 0};
    int option;
    while ((option = getopt(argc, argv, "+p:a:d:e")) != -1) {
        if (option == 'p' && options.probe_count < PROBES_MAX)
            options.probes[options.probe_count++] = optarg;
        else if (option == 'a')
            options.address_space = optarg;
        else if (option == 'd')
            options.data = optarg;
        else if (option == 'e')
            options.each = true;
        else
            die("the options are told at the top of trace_probes.c");
    }
    if (argc - optind < 3)
        die("usage: trace_probes [OPTION]... LIBRARY OUTPUT PROGRAM ARGS...");
    return options;
}

static pid_t start(const struct options *options, const char *library, char **command)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct stat program, watched;
    if (stat(command[0], &program) != 0 || stat(library, &watched) != 0 || program.st_ino != watched.st_ino)
        setenv("LD_PRELOAD", library, 1);
    if (options->address_space != NULL)
        limit(RLIMIT_AS, options->address_space);
    if (options->data != NULL)
        limit(RLIMIT_DATA, options->data);
    execvp(command[0], command);
    fprintf(stderr, "trace_probes: can't run %s: %s\n", command[0], strerror(errno));
    _exit(127);
}

int main(int argc, char **argv)
{
    struct options options = parse(argc, argv);
    const char *library = argv[optind], *output_name = argv[optind + 1];
    output = fopen(output_name, "we");
    if (output == NULL)
        die("can't write %s", output_name);
    read_sites(library);
    keep_sites(options.probes, options.probe_count);

    int ring = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "trace_ring", 0, 0, RING_BYTES, NULL);
    int lost = bpf_map_create(BPF_MAP_TYPE_ARRAY, "trace_lost", 4, 8, 1, NULL);
    struct ring_buffer *buffer = ring >= 0 ? ring_buffer__new(ring, print_event, NULL, NULL) : NULL;
    if (buffer == NULL || lost < 0)
        die("no BPF maps: %s", strerror(errno));
    if (options.each || !attach_multi(library, ring, lost))
        attach_each(library, ring, lost);

    int status = 0;
    pid_t pid = start(&options, library, argv + optind + 2);
    while (waitpid(pid, &status, WNOHANG) == 0)
        ring_buffer__poll(buffer, 20);
    ring_buffer__consume(buffer);

    uint32_t key = 0;
    uint64_t lost_events = 0;
    bpf_map_lookup_elem(lost, &key, &lost_events);
    fprintf(output, "lost %llu\n", (unsigned long long)lost_events);
    if (fclose(output) != 0)
        die("can't write %s", output_name);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
