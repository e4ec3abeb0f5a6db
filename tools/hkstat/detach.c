/* detach.c - hkstat detach: ends all that was attached, and takes what was gathered with it. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "complain.h"
#include "pins.h"

enum key { KEY_PIN_DIR = 256 };

static const struct argp_option options[] = {
    {"pin-dir", KEY_PIN_DIR, "DIR", 0, "Where maps and links are pinned; default " HK_PIN_DIR, 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    if (key != KEY_PIN_DIR)
        return ARGP_ERR_UNKNOWN;
    *(const char **)state->input = arg;
    return 0;
}

int hkstat_detach(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc = "End what `hkstat attach` began, for all processes: no link, pin or raised semaphore is left. What was "
               "gathered is gone. The processes go on as they are.",
    };
    const char *dir = HK_PIN_DIR;
    struct stat status;
    complain_as("hkstat detach");
    argp_parse(&argp, argc, argv, 0, NULL, &dir);
    if (stat(dir, &status) != 0) {
        if (errno == ENOENT)
            printf("nothing is attached\n");
        else
            complain("%s: %s", dir, strerror(errno));
        return errno == ENOENT ? 0 : 1;
    }
    int lock = pins_lock(dir);
    if (lock < 0)
        return 1;
    bool removed = pins_remove(dir);
    close(lock);
    if (removed)
        printf("detached\n");
    return removed ? 0 : 1;
}
