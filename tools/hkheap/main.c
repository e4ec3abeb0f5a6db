/* hkheap - who holds the memory of a running process, by call stack, from sampled allocations. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "complain.h"
#include "output.h"
#include "profile.h"
#include "tracer.h"

enum { EXIT_USAGE = 2 };
enum key { KEY_BY = 256 };
enum command { WATCH, RECORD, SHOW, DIFF };
enum format { TEXT, JSON, FOLDED, SVG, PPROF, FORMATS };

static const char *const format_names[FORMATS] = {"text", "json", "folded", "svg", "pprof"};
static const char *const command_names[] = {"watch", "record", "show", "diff"};

struct options {
    enum command command;
    enum format format;
    enum profile_order order;
    bool is_order_given;
    const char *output; /* NULL: standard output */
    const char *files[2];
    unsigned file_count;
    pid_t pid;
    double seconds, interval; /* 0: not given */
    size_t top;
};

const char *argp_program_version = "hkheap " HAKMEM_VERSION;

static volatile sig_atomic_t stopped;

static void stop(int number)
{
    stopped = number;
}

/* ---- the command line ---- */

static const struct argp_option option_table[] = {
    {"pid", 'p', "PID", 0, "The process to watch", 0},
    {"seconds", 's', "N", 0, "Watch for so long; without it until Ctrl-C, or the process's end", 0},
    {"interval", 'i', "N", 0,
     "Show, or write the record anew, every N seconds; growth is what came since the last time", 0},
    {"by", KEY_BY, "WHAT", 0, "What counts: live (the default), allocated, growth", 0},
    {"format", 'f', "FORMAT", 0, "text (the default), json, folded, svg (a flame graph), pprof", 0},
    {"output", 'o', "FILE", 0, "Write to FILE", 0},
    {"top", 'n', "N", 0, "Stacks that text shows; 20 by default, 0: all", 0},
    {0}};

static int name_index(const char *text, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    return -1;
}

static double positive(struct argp_state *state, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (*end != '\0' || end == text || !(value > 0) || value > 1e9)
        argp_error(state, "%s is no number above 0", text);
    return value;
}

static void take_file(struct options *options, const char *text, struct argp_state *state)
{
    int command = name_index(text, command_names, 4);
    if (state->arg_num == 0 && command >= 0)
        options->command = (enum command)command;
    else if (options->file_count < 2 && options->command >= SHOW)
        options->files[options->file_count++] = text;
    else
        argp_error(state, "%s: neither a command nor a file that one takes", text);
}

static error_t take_option(int key, char *text, struct argp_state *state)
{
    struct options *options = state->input;
    char *end;
    int index;
    long number;
    switch (key) {
    case 'p':
        errno = 0;
        number = strtol(text, &end, 10);
        if (*end != '\0' || text[0] < '0' || text[0] > '9' || number <= 0 || number > INT_MAX || errno != 0)
            argp_error(state, "'%s' is no process number", text);
        options->pid = (pid_t)number;
        break;
    case 's':
        options->seconds = positive(state, text);
        break;
    case 'i':
        options->interval = positive(state, text);
        break;
    case KEY_BY:
        index = name_index(text, order_names, 3);
        if (index < 0)
            argp_error(state, "--by takes live, allocated or growth, not %s", text);
        options->order = (enum profile_order)index;
        options->is_order_given = true;
        break;
    case 'f':
        index = name_index(text, format_names, FORMATS);
        if (index < 0)
            argp_error(state, "--format takes text, json, folded, svg or pprof, not %s", text);
        options->format = (enum format)index;
        break;
    case 'o':
        options->output = text;
        break;
    case 'n':
        options->top = (size_t)strtoul(text, &end, 10);
        if (*end != '\0' || *text == '-')
            argp_error(state, "%s is no number of stacks", text);
        break;
    case ARGP_KEY_ARG:
        take_file(options, text, state);
        break;
    case ARGP_KEY_END:
        if (options->command <= RECORD && options->pid == 0)
            argp_error(state, "name the process by --pid");
        if (options->command == RECORD && options->output == NULL)
            argp_error(state, "name the file to record to by --output");
        if (options->command >= SHOW && options->file_count != (options->command == SHOW ? 1u : 2u))
            argp_error(state, options->command == SHOW ? "name one file" : "name two files");
        if (options->format == PPROF && options->output == NULL && isatty(STDOUT_FILENO))
            argp_error(state, "pprof's format is binary: name a file by --output");
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp argp = {
    .options = option_table,
    .parser = take_option,
    .args_doc = "-p PID\nrecord -p PID -o FILE\nshow FILE\ndiff BEFORE AFTER",
    .doc = "Shows which call stacks hold the memory of a running process, from allocations that the library samples "
           "while it is "
           "watched: one for each 512 KiB, 250 a second at most, so the process pays next to nothing, and nothing once "
           "hkheap ends. Only "
           "what was "
           "allocated since hkheap began is known.\v"
           "record writes the profile as JSON, again and again; show and diff read such files. Needs CAP_BPF and "
           "CAP_PERFMON, and "
           "CAP_SYS_PTRACE for other users' processes.\n\nExit status: 0; 1: it failed; 2: the command line is wrong."};

/* ---- output ---- */

static bool write_to(FILE *out, struct profile *profile, const struct options *options, enum format format)
{
    profile_sort(profile, options->order);
    switch (format) {
    case JSON:
        output_json(out, profile);
        break;
    case FOLDED:
        output_folded(out, profile, options->order);
        break;
    case SVG:
        output_svg(out, profile, options->order);
        break;
    case PPROF:
        if (!output_pprof(out, profile))
            return false;
        break;
    default:
        output_text(out, profile, options->order, options->top);
        break;
    }
    return fflush(out) == 0 && ferror(out) == 0;
}

/* A device, a pipe or a link stays what it is. */
static bool is_written_in_place(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 && !S_ISREG(status.st_mode);
}

static bool write_in_place(struct profile *profile, const struct options *options, enum format format)
{
    FILE *out = fopen(options->output, "we");
    bool written = out != NULL && write_to(out, profile, options, format);
    written = (out == NULL || fclose(out) == 0) && written;
    if (!written)
        complain("can't write %s: %s", options->output, strerror(errno));
    return written;
}

/* A new file beside it, whose name to `beside`, for whom the other was; NULL with errno. */
static FILE *open_beside(const char *path, char **beside)
{
    struct stat old;
    if (asprintf(beside, "%s.XXXXXX", path) < 0) {
        *beside = NULL;
        return NULL;
    }
    int fd = mkostemp(*beside, O_CLOEXEC);
    if (fd < 0)
        return NULL;
    mode_t mask = umask(0);
    umask(mask);
    bool replaces = stat(path, &old) == 0;
    if (replaces && fchown(fd, old.st_uid, old.st_gid) != 0)
        replaces = false; /* another's: it becomes ours */
    fchmod(fd, replaces ? old.st_mode & 07777 : 0666 & ~mask);
    return fdopen(fd, "w");
}

/* To a file beside it first, so that a reader never finds half of one. */
static bool write_file(struct profile *profile, const struct options *options, enum format format)
{
    char *beside;
    if (is_written_in_place(options->output))
        return write_in_place(profile, options, format);
    FILE *out = open_beside(options->output, &beside);
    bool written = out != NULL && write_to(out, profile, options, format);
    written = (out == NULL || fclose(out) == 0) && written && rename(beside, options->output) == 0;
    if (!written)
        complain("can't write %s: %s", options->output, strerror(errno));
    if (!written && out != NULL)
        unlink(beside);
    free(beside);
    return written;
}

static bool put_profile(struct profile *profile, const struct options *options)
{
    enum format format = options->command == RECORD ? JSON : options->format;
    if (options->output != NULL)
        return write_file(profile, options, format);
    if (write_to(stdout, profile, options, format))
        return true;
    complain("can't write: %s", strerror(errno));
    return false;
}

/* ---- watching ---- */

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void progress(const struct profile *profile, double seconds, bool last)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr,
                last ? "\r\033[K"
                     : "\r%.0f s: %zu stacks, %zu samples live, %" PRIu64 " of %" PRIu64
                       " caches armed; Ctrl-C ends \033[K",
                seconds, profile->site_count, profile->live_count, profile->armed, profile->caches);
}

static int watch(const struct options *options)
{
    struct tracer *tracer = tracer_new(options->pid);
    if (tracer == NULL)
        return EXIT_FAILURE;
    struct profile *profile = profile_new();
    double began = now(), shown = began, end = options->seconds > 0 ? began + options->seconds : 1e300;
    bool good = true, ended = false, put = false, written = true;
    while (good && !ended && stopped == 0 && now() < end) {
        good = tracer_poll(tracer, profile, 100);
        ended = !tracer_lives(tracer);
        progress(profile, now() - began, false);
        if (good && options->interval > 0 && now() - shown >= options->interval) {
            progress(profile, 0, true);
            tracer_tell(tracer, profile);
            written = put_profile(profile, options);
            good = written || options->command == RECORD; /* a disk that is full now may not be so then */
            if (options->command == WATCH)
                profile_mark(profile);
            shown = now();
            put = true;
        }
    }
    good = good && tracer_finish(tracer, profile);
    progress(profile, 0, true);
    tracer_tell(tracer, profile);
    if (good && (!put || options->command == RECORD || options->interval == 0))
        written = put_profile(profile, options);
    tracer_free(tracer);
    profile_free(profile);
    return good && written ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- files ---- */

static int show(const struct options *options)
{
    char error[PROFILE_ERROR_SIZE];
    struct profile *profiles[2] = {NULL, NULL};
    bool good = true;
    for (unsigned i = 0; i < options->file_count && good; i++) {
        profiles[i] = profile_read(options->files[i], error);
        good = profiles[i] != NULL;
        if (!good)
            complain("%s", error);
    }
    if (good && options->command == DIFF)
        profile_compare(profiles[1], profiles[0]);
    good = good && put_profile(profiles[options->file_count - 1], options);
    for (unsigned i = 0; i < 2; i++)
        if (profiles[i] != NULL)
            profile_free(profiles[i]);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool is_ignored(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

/* What is opened later must not become standard output. */
static void open_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

int main(int argc, char **argv)
{
    open_standard_descriptors();
    struct options options = {.order = BY_LIVE, .top = 20};
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    if (options.command == DIFF && !options.is_order_given)
        options.order = BY_GROWTH;
    complain_as("hkheap");
    const struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (!is_ignored(SIGHUP)) /* nohup */
        sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a write fails instead */
    return options.command <= RECORD ? watch(&options) : show(&options);
}
