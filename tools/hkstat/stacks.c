/* stacks.c - hkstat stacks: who asked for memory in vain. */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "callers.h"
#include "commands.h"
#include "complain.h"

enum key { KEY_PIN_DIR = 256 };

struct request {
    const char *pin_dir;
    uint64_t pid; /* 0: all */
};

static const struct argp_option options[] = {
    {"pid", 'p', "PID", 0, "Only this process", 0},
    {"pin-dir", KEY_PIN_DIR, "DIR", 0, "Where the maps are pinned; default " HK_PIN_DIR, 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct request *request = state->input;
    char *end;
    switch (key) {
    case 'p':
        request->pid = strtoul(arg, &end, 10);
        if (arg[0] < '0' || arg[0] > '9' || *end != '\0' || request->pid == 0 || request->pid > INT32_MAX)
            argp_error(state, "'%s' is no process id", arg);
        return 0;
    case KEY_PIN_DIR:
        request->pin_dir = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print(const struct caller *caller, const struct symbols *symbols)
{
    char failure[64], name[SYMBOLS_NAME_SIZE];
    callers_failure(&caller->key, failure, sizeof failure);
    printf("process %" PRIu64 ", %" PRIu64 " times: %s\n", caller->key.process.pid, caller->stack.count, failure);
    for (unsigned i = 0; i < HK_STACK_DEPTH && caller->stack.frames[i] != 0; i++) {
        symbols_name(symbols, caller->stack.frames[i], i > 0, name);
        printf("    %s\n", name);
    }
}

int hkstat_stacks(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc = "Show the stacks of callers whose allocations failed, since `hkstat attach --stacks`: what failed, how "
               "often, "
               "and where from. The names of functions take the right to look into the process.",
    };
    struct request request = {.pin_dir = HK_PIN_DIR};
    struct callers callers;
    char error[CALLERS_ERROR_SIZE];
    complain_as("hkstat stacks");
    argp_parse(&argp, argc, argv, 0, NULL, &request);
    if (!callers_read(request.pin_dir, NULL, &callers, error)) {
        complain("%s", error);
        return 1;
    }
    struct symbols *symbols = NULL;
    for (size_t i = 0; i < callers.count; i++) {
        const struct hk_process_key *process = &callers.list[i].key.process;
        if (request.pid != 0 && process->pid != request.pid)
            continue;
        bool is_next = i == 0 || memcmp(process, &callers.list[i - 1].key.process, sizeof *process) != 0;
        if (symbols != NULL && is_next) {
            symbols_free(symbols);
            symbols = NULL;
        }
        if (symbols == NULL)
            symbols = symbols_of(process);
        print(&callers.list[i], symbols);
    }
    if (symbols != NULL)
        symbols_free(symbols);
    callers_free(&callers);
    return 0;
}
