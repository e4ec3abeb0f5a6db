#include "options.h"

#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bpf/hakmem_maps.h"

#define LEAST_INTERVAL_S 0.01
#define MOST_INTERVAL_S 86400.0

const char *argp_program_version = "hkstat " HAKMEM_VERSION;

enum { OPTION_PID = 'p', OPTION_JSON = 256, OPTION_CSV, OPTION_PIN_DIR, OPTION_AT };

static const struct argp_option watch_options[] = {
    {"pid", OPTION_PID, "PID", 0, "Only this process", 0},
    {"json", OPTION_JSON, NULL, 0, "One JSON object a tick, as hkstat(1) tells", 0},
    {"csv", OPTION_CSV, NULL, 0, "One line a tick and process, after a line of names", 0},
    {"pin-dir", OPTION_PIN_DIR, "DIR", 0, "Where the maps are pinned; default " HK_PIN_DIR, 0},
    {0},
};

static const struct argp_option replay_options[] = {
    {"at", OPTION_AT, "TIME", 0,
     "What was shown at TIME: HH:MM[:SS], 'YYYY-MM-DD HH:MM[:SS]', +SECONDS from the start, @SECONDS since the epoch",
     0},
    {"pid", OPTION_PID, "PID", 0, "Only this process", 0},
    {"json", OPTION_JSON, NULL, 0, "One JSON object a tick", 0},
    {"csv", OPTION_CSV, NULL, 0, "One line a tick and process", 0},
    {0},
};

static bool parse_count(const char *text, uint64_t most, uint64_t *value)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number == 0 || number > most)
        return false;
    *value = number;
    return true;
}

static bool parse_seconds(const char *text, double least, double most, double *seconds)
{
    char *end;
    *seconds = strtod(text, &end);
    return text[0] >= '0' && text[0] <= '9' && strspn(text, "0123456789.") == (size_t)(end - text) && *end == '\0' &&
           *seconds >= least && *seconds <= most;
}

static void parse_word(const char *word, struct options *options, struct argp_state *state)
{
    double seconds;
    if (options->command != COMMAND_WATCH && options->file == NULL) {
        options->file = word;
    } else if (options->command == COMMAND_REPLAY) {
        argp_error(state, "one record at a time: what is '%s'?", word);
    } else if (options->interval_ms == 0) {
        if (!parse_seconds(word, LEAST_INTERVAL_S, MOST_INTERVAL_S, &seconds))
            argp_error(state, "the interval is 0.01 to 86400 seconds, not '%s'; a command comes before options", word);
        options->interval_ms = (uint64_t)llround(seconds * 1e3);
    } else if (options->count == 0) {
        if (!parse_count(word, UINT32_MAX, &options->count))
            argp_error(state, "the count is a number from 1, not '%s'", word);
    } else {
        argp_error(state, "too many arguments: '%s'", word);
    }
}

static void set_format(struct options *options, enum format format, struct argp_state *state)
{
    if (options->format != FORMAT_DEFAULT && options->format != format)
        argp_error(state, "--json and --csv exclude each other");
    options->format = format;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case OPTION_JSON:
        set_format(options, FORMAT_JSON, state);
        return 0;
    case OPTION_CSV:
        set_format(options, FORMAT_CSV, state);
        return 0;
    case OPTION_PID:
        if (!parse_count(arg, INT32_MAX, &options->pid))
            argp_error(state, "'%s' is no process id", arg);
        return 0;
    case OPTION_PIN_DIR:
        options->pin_dir = arg;
        return 0;
    case OPTION_AT:
        options->at = arg;
        return 0;
    case ARGP_KEY_ARG:
        parse_word(arg, options, state);
        return 0;
    case ARGP_KEY_END:
        if (options->command != COMMAND_WATCH && options->file == NULL)
            argp_error(state, "no FILE given");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parsers[] = {
    [COMMAND_WATCH] =
        {
            .options = watch_options,
            .parser = parse_option,
            .args_doc = "[INTERVAL [COUNT]]",
            .doc = "Show what hakmem does in running processes: on a terminal a live dashboard, else a table; with an "
                   "INTERVAL, "
                   "in seconds, a line a tick, first totals, then rates.\v"
                   "Processes are watched from 'hkstat attach' to 'hkstat detach'; if nothing is attached, and hkstat "
                   "may, "
                   "it attaches to all for as long as it runs. The exit status is 0, 1 "
                   "if something failed, 2 if the command line isn't understood.\n\n"
                   "Commands, each with a --help of its own:\n"
                   "  hkstat attach [OPTION...]\n"
                   "  hkstat detach [OPTION...]\n"
                   "  hkstat status [OPTION...]\n"
                   "  hkstat stacks [OPTION...]\n"
                   "  hkstat record FILE [OPTION...] [INTERVAL [COUNT]]\n"
                   "  hkstat replay FILE [OPTION...]",
        },
    [COMMAND_RECORD] =
        {.options = watch_options,
         .parser = parse_option,
         .args_doc = "FILE [INTERVAL [COUNT]]",
         .doc = "Record ticks to a new FILE, until COUNT ticks or Ctrl-C; with --json or --csv, show them too."},
    [COMMAND_REPLAY] = {.options = replay_options,
                        .parser = parse_option,
                        .args_doc = "FILE",
                        .doc =
                            "Show a record as it was seen live: on a terminal in the dashboard, else a line a tick."},
};

void options_parse(int argc, char **argv, struct options *options)
{
    static char record_name[] = "hkstat record", replay_name[] = "hkstat replay";
    *options = (struct options){.pin_dir = HK_PIN_DIR};
    argp_err_exit_status = EXIT_USAGE;
    if (argc > 1 && strcmp(argv[1], "record") == 0)
        options->command = COMMAND_RECORD;
    else if (argc > 1 && strcmp(argv[1], "replay") == 0)
        options->command = COMMAND_REPLAY;
    if (options->command != COMMAND_WATCH) {
        argc--;
        argv++;
        argv[0] = options->command == COMMAND_RECORD ? record_name : replay_name;
    }
    argp_parse(&parsers[options->command], argc, argv, 0, NULL, options);
    if (options->command == COMMAND_RECORD && options->interval_ms == 0)
        options->interval_ms = 1000;
}

bool options_moment(const char *text, int64_t first_ms, int64_t *time_ms)
{
    double seconds;
    if (text[0] == '@' || text[0] == '+') {
        if (!parse_seconds(text + 1, 0, 253402300799.0, &seconds))
            return false;
        *time_ms = (text[0] == '+' ? first_ms : 0) + llround(seconds * 1e3);
        return true;
    }
    static const char *const formats[] = {"%H:%M:%S", "%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M",
                                          "%Y-%m-%dT%H:%M:%S"};
    time_t first = (time_t)(first_ms / 1000);
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        struct tm moment;
        if (localtime_r(&first, &moment) == NULL)
            return false;
        moment.tm_sec = 0;
        moment.tm_isdst = -1;
        const char *end = strptime(text, formats[i], &moment);
        if (end == NULL || *end != '\0')
            continue;
        /* All of the second that is named: a tick within it had been shown when it was over. */
        *time_ms = (int64_t)mktime(&moment) * 1000 + 999;
        return true;
    }
    return false;
}
