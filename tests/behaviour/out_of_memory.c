/* out_of_memory - memory is refused, in a way that is known; the program goes on, and says good.
 *
 *   out_of_memory first     twice, in ask_first() and ask_again(), beyond RLIMIT_AS
 *   out_of_memory beyond    a request that no machine can serve
 *   out_of_memory often     200,000 times
 *   out_of_memory threads   eight threads at once
 *   out_of_memory fork      once; a child, which has had none, reports to standard output
 *   out_of_memory asked     once; hk_oom_report to standard output, and to a descriptor that is closed
 *   out_of_memory wait      as first; then waits for the end of standard input
 *   out_of_memory never     not at all */
#include <dlfcn.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "check.h"

#define NOINLINE __attribute__((noinline))

static void *volatile sink;
static void (*report_to)(int fd);
static void *kept;

static void refused(size_t size)
{
    errno = 0;
    sink = malloc(size);
    require(sink == NULL && errno == ENOMEM, "malloc(%zu) is not refused, errno %d", size, errno);
}

static NOINLINE void ask_first(void)
{
    refused(600 * MIB);
    sink = NULL; /* no tail call: the frame stays */
}

static NOINLINE void ask_again(void)
{
    refused(700 * MIB);
    sink = NULL;
}

static pthread_barrier_t barrier;

static void *ask_in_thread(void *arg)
{
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < 2000; i++)
        refused(600 * MIB);
    return arg;
}

static void limit_addresses(void)
{
    const struct rlimit limit = {500 * MIB, RLIM_INFINITY};
    require(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
}

static void ask_in_threads(void)
{
    pthread_t threads[8];
    pthread_barrier_init(&barrier, NULL, 9);
    for (unsigned i = 0; i < 8; i++)
        require(pthread_create(&threads[i], NULL, ask_in_thread, NULL) == 0, "pthread_create");
    limit_addresses();
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
}

static void report_in_child(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        report_to(STDOUT_FILENO);
        _exit(0);
    }
    require(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "child: %#x", (unsigned)status);
}

int main(int argc, char **argv)
{
    const char *kind = argc == 2 ? argv[1] : "";
    char end;
    *(void **)&report_to = dlsym(RTLD_DEFAULT, "hk_oom_report");
    require(report_to != NULL, "no hk_oom_report");
    kept = take(3000);
    if (strcmp(kind, "threads") != 0 && strcmp(kind, "beyond") != 0)
        limit_addresses();
    if (strcmp(kind, "beyond") == 0) {
        refused(SIZE_MAX - 4096);
        refused(PTRDIFF_MAX - 4096);
    } else if (strcmp(kind, "often") == 0) {
        for (unsigned i = 0; i < 200000; i++)
            refused(600 * MIB);
        report_to(STDOUT_FILENO);
    } else if (strcmp(kind, "threads") == 0) {
        ask_in_threads();
    } else if (strcmp(kind, "fork") == 0) {
        ask_first();
        report_in_child();
    } else if (strcmp(kind, "asked") == 0) {
        ask_first();
        errno = EXFULL;
        report_to(STDOUT_FILENO);
        report_to(97);
        require(errno == EXFULL, "errno is %d", errno);
    } else if (strcmp(kind, "first") == 0 || strcmp(kind, "wait") == 0) {
        ask_first();
        ask_again();
    } else {
        require(strcmp(kind, "never") == 0, "usage: see the top of out_of_memory.c");
    }
    free(kept);
    free(take(100000));
    puts("good");
    fflush(stdout);
    if (strcmp(kind, "wait") == 0)
        require(read(STDIN_FILENO, &end, 1) == 0, "read");
    return 0;
}
