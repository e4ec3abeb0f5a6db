/* explain.c - hkstat explain: what the memory of a process is used for. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "complain.h"
#include "footprint_out.h"

enum key { KEY_CORE = 256, KEY_HEAP, KEY_SVG, KEY_JSON, KEY_MAP };

struct request {
    int pid; /* 0: none */
    const char *core, *heap, *svg;
    bool json, map;
};

static const struct argp_option options[] = {
    {"core", KEY_CORE, "FILE", 0, "Explain the process that this core file was written of", 0},
    {"heap", KEY_HEAP, "FILE", 0,
     "Add what a record of hkheap's, of the same process, tells: slack, and who holds fragmented classes", 0},
    {"json", KEY_JSON, NULL, 0, "One JSON object", 0},
    {"map", KEY_MAP, NULL, 0, "Show how full each SuperSlab is, too", 0},
    {"svg", KEY_SVG, "FILE", 0, "Write a picture, too", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct request *request = state->input;
    char *end;
    unsigned long pid;
    switch (key) {
    case KEY_CORE:
        request->core = arg;
        return 0;
    case KEY_HEAP:
        request->heap = arg;
        return 0;
    case KEY_SVG:
        request->svg = arg;
        return 0;
    case KEY_JSON:
        request->json = true;
        return 0;
    case KEY_MAP:
        request->map = true;
        return 0;
    case ARGP_KEY_ARG:
        pid = strtoul(arg, &end, 10);
        if (arg[0] < '0' || arg[0] > '9' || *end != '\0' || pid == 0 || pid > INT32_MAX || request->pid != 0)
            argp_error(state, request->pid != 0 ? "one process at a time: '%s' is too much" : "'%s' is no process id",
                       arg);
        request->pid = (int)pid;
        return 0;
    case ARGP_KEY_END:
        if ((request->pid != 0) == (request->core != NULL))
            argp_error(state, "name a process by its id, or a core file by --core");
        if (request->json && request->map)
            argp_error(state, "--map is text: not with --json");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static bool write_svg(const char *path, const struct footprint_view *view)
{
    FILE *out = fopen(path, "we");
    if (out != NULL)
        footprint_svg(out, view);
    if (out != NULL && fclose(out) == 0)
        return true;
    complain("can't write %s: %s", path, strerror(errno));
    return false;
}

static bool show(const struct request *request, const struct footprint_view *view)
{
    if (request->json)
        footprint_json(stdout, view);
    else
        footprint_text(stdout, view);
    if (request->map)
        footprint_map(stdout, view);
    if (fflush(stdout) != 0) {
        complain("can't write: %s", strerror(errno));
        return false;
    }
    return request->svg == NULL || write_svg(request->svg, view);
}

int hkstat_explain(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "PID\n--core FILE",
        .doc = "Tell what each resident byte of a process that uses hakmem is used for: live blocks, caches, free "
               "memory that is "
               "kept and why, the allocator's tables, and what is not the allocator's; and what malloc_trim would give "
               "back. Reads the "
               "process's memory: no code runs in it, and it is not stopped. Takes the right to look into the process: "
               "its own user, or "
               "CAP_SYS_PTRACE.\vExit status: 0 once it is told, also in part; 1 when it can't be; 64 for wrong usage.",
    };
    struct request request = {0};
    struct footprint footprint;
    char error[ADDRESS_SPACE_ERROR_SIZE];
    _Static_assert(FOOTPRINT_ERROR_SIZE == ADDRESS_SPACE_ERROR_SIZE, "one text for both");
    complain_as("hkstat explain");
    argp_parse(&argp, argc, argv, 0, NULL, &request);
    struct address_space *space = request.core != NULL ? address_space_of_core(request.core, error)
                                                       : address_space_of_process(request.pid, true, error);
    if (space == NULL) {
        complain("%s", error);
        return EXIT_FAILURE;
    }
    bool good = footprint_read(space, &footprint, error) &&
                (request.heap == NULL || footprint_read_samples(request.heap, (uint64_t)space->pid, &footprint, error));
    if (!good)
        complain("%s", error);
    else
        good = show(&request, &(struct footprint_view){space, &footprint, request.core});
    footprint_free(&footprint);
    address_space_free(space);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
