/* hkstat - shows what hakmem does in running processes. Commands that are not about ticks are in files of their own (commands.h). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/capability.h>

#include "commands.h"
#include "complain.h"
#include "dashboard.h"
#include "guard.h"
#include "json.h"
#include "options.h"
#include "output.h"
#include "source.h"

#define LINES_PER_HEADER 20u
#define FIRST_LOOK_MS 1000u /* after attaching: what processes tell in it */

static volatile sig_atomic_t stop_signal;

static void stop(int number)
{
    stop_signal = number;
}

static void sleep_ms(uint64_t ms)
{
    struct timespec rest = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (stop_signal == 0 && nanosleep(&rest, &rest) != 0)
        continue;
}

static bool process_exists(uint64_t pid)
{
    return kill((pid_t)pid, 0) == 0 || errno == EPERM;
}

/* What is shown, and where it is kept. */
struct output {
    const struct options *options;
    FILE *record; /* NULL: none */
    bool shown;   /* the ticks go to standard output, too */
    bool utf8;
    uint64_t ticks;
};

static bool put_tick(struct output *output, const struct tick *tick)
{
    const struct options *options = output->options;
    if (output->record != NULL) {
        json_write(output->record, tick);
        if (fflush(output->record) != 0) {
            complain("can't write %s: %s", options->file, strerror(errno));
            return false;
        }
    }
    if (output->shown) {
        if (options->format == FORMAT_JSON)
            json_write(stdout, tick);
        else if (options->format == FORMAT_CSV)
            output_csv(stdout, tick, output->ticks == 0);
        else if (options->command == COMMAND_WATCH && options->interval_ms == 0)
            output_table(stdout, tick, options->pid, output->utf8);
        else
            output_line(stdout, tick, output->ticks % LINES_PER_HEADER == 0);
        if (fflush(stdout) != 0) {
            complain("can't write: %s", strerror(errno));
            return false;
        }
    }
    output->ticks++;
    return true;
}

/* The first tick, after attaching if nothing is attached and this program may. */
static enum source_result first_tick(struct source **source, const struct options *options, const struct tick **tick,
                                     char *error)
{
    static char own_pins[PATH_MAX];
    enum source_result result = source_next(*source, tick, error);
    if (result != SOURCE_NOT_ATTACHED || (!has_capability(CAP_BPF) && !has_capability(CAP_SYS_ADMIN)))
        return result;
    snprintf(own_pins, sizeof own_pins, "%s-%d", options->pin_dir, (int)getpid());
    if (!guard_start(own_pins, options->pid)) {
        snprintf(error, SOURCE_ERROR_SIZE, "nothing was attached, and attaching failed");
        return SOURCE_FAILED;
    }
    source_close(*source);
    *source = source_live(own_pins, options->pid);
    sleep_ms(options->interval_ms != 0 ? options->interval_ms : FIRST_LOOK_MS);
    return source_next(*source, tick, error);
}

/* Whether a process that is asked for can still tell something; says why not. */
static bool still_there(const struct options *options, const struct tick *tick, uint64_t ticks)
{
    if (options->pid == 0 || tick_find_pid(tick, options->pid) != NULL)
        return true;
    if (!process_exists(options->pid)) {
        complain(ticks == 0 ? "no process %" PRIu64 : "process %" PRIu64 " has ended", options->pid);
        return false;
    }
    if (ticks == 0)
        complain("process %" PRIu64
                 " has told nothing yet: it isn't watched ('hkstat status' tells who is), or had no event "
                 "since the attach",
                 options->pid);
    return ticks != 0 || options->interval_ms != 0;
}

static int watch(struct source **source, struct output *output)
{
    const struct options *options = output->options;
    const struct tick *tick = NULL;
    char error[SOURCE_ERROR_SIZE];
    enum source_result result = first_tick(source, options, &tick, error);
    uint64_t most = options->interval_ms == 0 ? 1 : options->count;
    while (stop_signal == 0 && result == SOURCE_TICK) {
        if (!still_there(options, tick, output->ticks))
            return output->ticks == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        if (!put_tick(output, tick))
            return EXIT_FAILURE;
        if (output->ticks == most)
            return EXIT_SUCCESS;
        sleep_ms(options->interval_ms);
        if (stop_signal == 0)
            result = source_next(*source, &tick, error);
    }
    if (stop_signal != 0)
        return EXIT_SUCCESS;
    complain("%s", error);
    return EXIT_FAILURE;
}

static int replay(struct source *source, struct output *output)
{
    const struct tick *tick = NULL;
    char error[SOURCE_ERROR_SIZE];
    enum source_result result = source_next(source, &tick, error);
    if (result == SOURCE_TICK && output->options->at != NULL) {
        int64_t moment;
        if (!options_moment(output->options->at, tick->time_ms, &moment)) {
            complain("'%s' is no time: HH:MM[:SS], 'YYYY-MM-DD HH:MM[:SS]', +SECONDS or @SECONDS", output->options->at);
            return EXIT_USAGE;
        }
        if (moment < tick->time_ms) {
            complain("%s begins later than '%s'", output->options->file, output->options->at);
            return EXIT_FAILURE;
        }
        result = source_at(source, moment, &tick, error);
        if (result == SOURCE_TICK)
            return put_tick(output, tick) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    while (stop_signal == 0 && result == SOURCE_TICK) {
        if (!put_tick(output, tick))
            return EXIT_FAILURE;
        result = source_next(source, &tick, error);
    }
    if (result == SOURCE_END && error[0] == '\0' && output->ticks == 0)
        snprintf(error, sizeof error, "%s holds no tick", output->options->file);
    if (error[0] != '\0')
        complain("%s", error);
    return result == SOURCE_FAILED || output->ticks == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* A record may tell much: only its owner reads it. O_EXCL: nothing is overwritten, no link followed. */
static FILE *create_record(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *record = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (record == NULL)
        complain("can't create %s: %s", path, strerror(errno));
    return record;
}

static int show(const struct options *options, struct source **source)
{
    bool utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    bool plain = options->format != FORMAT_DEFAULT || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO);
    struct output output = {.options = options, .shown = true, .utf8 = utf8};
    if (options->command == COMMAND_REPLAY && (plain || options->at != NULL))
        return replay(*source, &output);
    if (options->command == COMMAND_WATCH && (plain || options->interval_ms != 0))
        return watch(source, &output);
    if (options->command == COMMAND_RECORD) {
        output.shown = options->format != FORMAT_DEFAULT;
        output.record = create_record(options->file);
        if (output.record == NULL)
            return EXIT_FAILURE;
        int status = watch(source, &output);
        if (fclose(output.record) != 0) {
            complain("can't write %s: %s", options->file, strerror(errno));
            return EXIT_FAILURE;
        }
        return status;
    }

    const struct tick *tick = NULL;
    char error[SOURCE_ERROR_SIZE];
    enum source_result result = options->command == COMMAND_WATCH ? first_tick(source, options, &tick, error)
                                                                  : source_next(*source, &tick, error);
    if (result == SOURCE_TICK)
        result = dashboard_run(*source, tick, options->pid, utf8, &stop_signal, error);
    if (result == SOURCE_END && error[0] == '\0')
        return EXIT_SUCCESS;
    complain("%s", error);
    return EXIT_FAILURE;
}

static struct source *open_source(const struct options *options)
{
    if (options->command != COMMAND_REPLAY)
        return source_live(options->pin_dir, options->pid);
    struct source *source = source_record(options->file, options->pid);
    if (source == NULL)
        complain("can't open %s: %s", options->file, strerror(errno));
    return source;
}

int main(int argc, char **argv)
{
    static struct {
        const char *name;
        char full_name[16]; /* what its --help calls it */
        int (*run)(int argc, char **argv);
    } commands[] = {{"attach", "hkstat attach", hkstat_attach},
                    {"detach", "hkstat detach", hkstat_detach},
                    {"status", "hkstat status", hkstat_status},
                    {"stacks", "hkstat stacks", hkstat_stacks},
                    {"explain", "hkstat explain", hkstat_explain}};
    setlocale(LC_CTYPE, "");
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            argv[1] = commands[i].full_name;
            return commands[i].run(argc - 1, argv + 1);
        }
    }

    struct options options;
    options_parse(argc, argv, &options);
    const struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);

    struct source *source = open_source(&options);
    if (source == NULL)
        return EXIT_FAILURE;
    int status = show(&options, &source);
    source_close(source);
    guard_end();
    if (stop_signal != 0 && options.command != COMMAND_RECORD) { /* end as who sent it expects */
        signal(stop_signal, SIG_DFL);
        raise(stop_signal);
    }
    return status;
}
