#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands.h"
#include "complain.h"

static pid_t guard;
static int alive; /* the end of a pipe that closes when this program ends */

/* Standard output belongs to what is shown, standard error to a dashboard's screen once it is up. */
static void silence(int descriptor)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, descriptor);
        close(null);
    }
}

static _Noreturn void keep_attached(char *pin_dir, char *pid, int told, int alive_end)
{
    char *attach_all[] = {(char *)"attach", (char *)"--pin-dir", pin_dir, (char *)"--all", NULL};
    char *attach_pid[] = {(char *)"attach", (char *)"--pin-dir", pin_dir, (char *)"-p", pid, NULL};
    char *detach[] = {(char *)"detach", (char *)"--pin-dir", pin_dir, NULL};
    setsid(); /* out of the reach of the terminal's Ctrl-C */
    signal(SIGPIPE, SIG_IGN);
    silence(STDOUT_FILENO);
    int status = pid != NULL ? hkstat_attach(5, attach_pid) : hkstat_attach(4, attach_all);
    char result = (char)status;
    bool heard = write(told, &result, 1) == 1;
    close(told);
    if (status != 0)
        exit(EXIT_FAILURE);
    silence(STDERR_FILENO);
    ssize_t length = 0;
    while (heard && ((length = read(alive_end, &result, 1)) > 0 || (length < 0 && errno == EINTR)))
        continue;
    exit(hkstat_detach(3, detach));
}

bool guard_start(const char *pin_dir, uint64_t pid)
{
    int told[2], living[2];
    char *dir, *pid_text = NULL;
    if (asprintf(&dir, "%s", pin_dir) < 0 || (pid != 0 && asprintf(&pid_text, "%" PRIu64, pid) < 0) ||
        pipe2(told, O_CLOEXEC) != 0 || pipe2(living, O_CLOEXEC) != 0 || (guard = fork()) < 0) {
        complain("can't start the process that attaches");
        return false;
    }
    if (guard == 0) {
        close(told[0]);
        close(living[1]);
        keep_attached(dir, pid_text, told[1], living[0]);
    }
    free(dir);
    free(pid_text);
    close(told[1]);
    close(living[0]);
    alive = living[1];
    char result = 1;
    ssize_t length;
    while ((length = read(told[0], &result, 1)) < 0 && errno == EINTR)
        continue;
    close(told[0]);
    if (length == 1 && result == 0)
        return true;
    guard_end();
    return false;
}

void guard_end(void)
{
    if (guard <= 0)
        return;
    close(alive);
    while (waitpid(guard, NULL, 0) < 0 && errno == EINTR)
        continue;
    guard = 0;
}
