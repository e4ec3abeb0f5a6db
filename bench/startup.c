/* startup - a tiny program starts and exits, again and again: it allocates a few blocks, as any program does. An operation
 * is one such life; what is resident at peak and at the end is the last tiny program's. */
#include "common.h"
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t count = 500, child, last;

static int live_tiny(void)
{
    struct work work = {.ops = 1, .ended = 1};
    void *blocks[100];
    for (size_t i = 0; i < 100; i++)
        blocks[i] = take_block(&work, 16 + i * i);
    for (size_t i = 0; i < 100; i += 2)
        free(blocks[i]);
    if (last != 0)
        answer(&work);
    return 0;
}

static void spawn(char *last_option)
{
    extern char **environ;
    char *argv[] = {"/proc/self/exe", "--child", last_option, NULL};
    pid_t pid;
    int status;
    if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) != 0)
        die("can't start the tiny program");
    if (waitpid(pid, &status, 0) != pid || status != 0)
        die("the tiny program failed");
}

/* The tiny program's answer, but the speed of all. */
static void answer_of_last(double seconds)
{
    char text[4096];
    int ends[2], out = dup(STDOUT_FILENO);
    if (out < 0 || pipe(ends) != 0 || dup2(ends[1], STDOUT_FILENO) < 0)
        die("can't make a pipe");
    close(ends[1]);
    spawn("--last");
    dup2(out, STDOUT_FILENO);
    close(out);
    ssize_t length = read(ends[0], text, sizeof(text) - 1);
    text[length < 0 ? 0 : length] = '\0';
    int skip = 0;
    sscanf(text, "mops=%*s %n", &skip);
    if (skip == 0)
        die("the tiny program did not answer");
    printf("mops=%.6g %s", (double)count / seconds / 1e6, text + skip);
}

int main(int argc, char **argv)
{
    static const struct option_row options[] = {
        {"count", &count, 1, UINT32_MAX, "lives"},
        {"child", &child, 0, 1, "be the tiny program"},
        {"last", &last, 0, 1, "which answers"},
    };
    read_options(argc, argv, options, sizeof(options) / sizeof(*options));
    if (child != 0)
        return live_tiny();
    double began = now();
    for (uint64_t i = 0; i < count; i++)
        spawn(NULL);
    answer_of_last(now() - began);
    return 0;
}
