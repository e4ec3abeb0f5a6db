#include "common.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define OPTIONS_MAX 16

uint64_t size_lo = 16, size_hi = 1040, seed = 1;

_Noreturn void die(const char *why)
{
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, why);
    exit(2);
}

static int is_flag(const struct option_row *row)
{
    return row->least == 0 && row->most == 1;
}

static _Noreturn void usage(const struct option_row *rows, size_t count, FILE *to, int status)
{
    fprintf(to, "usage: %s [--OPTION VALUE]...\n", program_invocation_short_name);
    for (size_t i = 0; i < count; i++) {
        fprintf(to, "  --%-10s %s", rows[i].name, rows[i].meaning);
        if (!is_flag(&rows[i]))
            fprintf(to, " (%llu)", (unsigned long long)*rows[i].value);
        fputc('\n', to);
    }
    exit(status);
}

void read_options(int argc, char **argv, const struct option_row *rows, size_t count)
{
    struct option options[OPTIONS_MAX + 2] = {{"help", no_argument, NULL, OPTIONS_MAX}};
    if (count > OPTIONS_MAX)
        die("too many options");
    for (size_t i = 0; i < count; i++)
        options[i + 1] =
            (struct option){rows[i].name, is_flag(&rows[i]) ? no_argument : required_argument, NULL, (int)i};
    for (int which; (which = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (which == OPTIONS_MAX)
            usage(rows, count, stdout, 0);
        if (which == '?')
            usage(rows, count, stderr, 2);
        const struct option_row *row = &rows[which];
        char *end = "";
        errno = 0;
        *row->value = optarg == NULL ? 1 : strtoull(optarg, &end, 10);
        if (errno != 0 || *end != '\0' || *row->value < row->least || *row->value > row->most) {
            fprintf(stderr, "%s: --%s takes a number from %llu to %llu\n", program_invocation_short_name, row->name,
                    (unsigned long long)row->least, (unsigned long long)row->most);
            exit(2);
        }
    }
    if (optind != argc)
        usage(rows, count, stderr, 2);
    if (size_hi < size_lo)
        die("--hi is below --lo");
}

void *own_pages(size_t bytes)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (pages == MAP_FAILED)
        die("no memory for the program's own books");
    return pages;
}

double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Not by stdio, which allocates; nor by getrusage, whose peak is the parent's if that was higher. */
unsigned long resident_kib(int peak)
{
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (length < 0)
        die("can't read /proc/self/status");
    close(fd);
    text[length] = '\0';
    const char *line = strstr(text, peak ? "VmHWM:" : "VmRSS:");
    if (line == NULL)
        die("/proc/self/status tells no resident memory");
    return strtoul(line + strlen("VmHWM:"), NULL, 10);
}

void add_work(struct work *total, const struct work *part)
{
    if (total->ops == 0 || part->began < total->began)
        total->began = part->began;
    if (total->ops == 0 || part->ended > total->ended)
        total->ended = part->ended;
    total->ops += part->ops;
    total->allocs += part->allocs;
    total->bytes += part->bytes;
}

void answer(const struct work *total)
{
    unsigned long end = resident_kib(0), peak = resident_kib(1);
    Dl_info where = {0};
    void *(*function)(size_t) = malloc;
    dladdr(*(void **)&function, &where);
    printf("mops=%.6g rss_kib=%lu end_kib=%lu allocs=%llu bytes=%llu malloc=%s\n",
           (double)total->ops / (total->ended - total->began) / 1e6, peak, end, (unsigned long long)total->allocs,
           (unsigned long long)total->bytes, where.dli_fname == NULL ? "?" : where.dli_fname);
}

pthread_t start_thread(void *(*body)(void *), void *arg, const pthread_attr_t *attr)
{
    pthread_t thread;
    if (pthread_create(&thread, attr, body, arg) != 0)
        die("can't start a thread");
    return thread;
}
