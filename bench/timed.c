/* timed - runs a program with a library preloaded and its output thrown away, and tells its time and the peak of resident
 * memory of the largest process of it. A small parent, because a child's peak begins with that of its parent.
 *
 *   timed LIBRARY PROGRAM [ARGUMENT]...
 *
 *   seconds=N rss_kib=N                                                                                              */
#include "common.h"
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    extern char **environ;
    posix_spawn_file_actions_t quietly;
    struct rusage usage;
    pid_t pid;
    int status;
    if (argc < 3)
        die("usage: timed LIBRARY PROGRAM [ARGUMENT]...");
    if (setenv("LD_PRELOAD", argv[1], 1) != 0 || posix_spawn_file_actions_init(&quietly) != 0 ||
        posix_spawn_file_actions_addopen(&quietly, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) != 0)
        die("can't prepare the program's surroundings");
    double began = now();
    if (posix_spawnp(&pid, argv[2], &quietly, NULL, argv + 2, environ) != 0)
        die("can't start the program");
    if (waitpid(pid, &status, 0) != pid || status != 0)
        die("the program failed");
    double seconds = now() - began;
    getrusage(RUSAGE_CHILDREN, &usage);
    printf("seconds=%.6f rss_kib=%ld\n", seconds, usage.ru_maxrss);
    return 0;
}
