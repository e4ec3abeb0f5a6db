/* fork_in_fork - the one thread forks while a timer's handler, wherever it comes, a fork's own handlers included, forks too. Children
 * of both allocate at once, free what was the parent's, and fork once more; nobody hangs. A process of one thread: with more, the C
 * library's own locks allow no such fork.
 *
 *   fork_in_fork FORKS */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "../behaviour/account_access.h"

#define BLOCKS 200u

static void *own[BLOCKS];
static unsigned long interrupted; /* forks of the handler that came within one of main's */
static volatile sig_atomic_t in_fork, is_child;

static void turn_over(uint64_t *random)
{
    unsigned i = (unsigned)random_next(random) % BLOCKS;
    if (own[i] != NULL) {
        check_marked(own[i], "a process");
        free(own[i]);
    }
    size_t size = random_between(random, 8, random_next(random) % 20 == 0 ? 40 * KIB : 1040);
    mark(own[i] = take(size), size > 2000 ? 2000 : size, (uint32_t)*random);
}

static void await(pid_t pid)
{
    int status;
    require(pid > 0, "no child: errno %d", errno);
    require(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 23,
            "a child ended with wait status %#x", (unsigned)status);
}

static _Noreturn void be_child(void)
{
    uint64_t random = (uint64_t)getpid();
    alarm(60); /* a child that hangs ends with another status */
    for (unsigned i = 0; i < 500; i++)
        turn_over(&random);
    pid_t pid = fork();
    for (unsigned i = 0; i < 100; i++)
        turn_over(&random);
    if (pid != 0)
        await(pid);
    _exit(23);
}

/* Where it came within main's fork, the child goes on there. */
static void on_timer(int signal)
{
    int saved = errno;
    (void)signal;
    pid_t pid = fork();
    if (pid == 0 && in_fork) {
        is_child = 1;
        return;
    }
    if (pid == 0)
        be_child();
    interrupted += in_fork != 0;
    await(pid);
    errno = saved;
}

/* The handler comes some time from now on, once. */
static void set_timer(timer_t timer, uint64_t *random)
{
    struct itimerspec once = {.it_value = {0, (long)random_between(random, 20, 600) * 1000}};
    require(timer_settime(timer, 0, &once, NULL) == 0, "timer_settime: errno %d", errno);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    uint64_t random = 1;
    timer_t timer;
    siginfo_t info;
    require(argc == 2, "usage: fork_in_fork FORKS");
    require(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
    require(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "timer_create: errno %d", errno);
    for (unsigned long n = 0, forks = strtoul(argv[1], NULL, 10); n < forks || interrupted < forks / 10; n++) {
        for (unsigned i = 0; i < 50; i++)
            turn_over(&random);
        set_timer(timer, &random);
        in_fork = 1;
        pid_t pid = fork();
        in_fork = 0;
        if (is_child && pid > 0 &&
            waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0) /* else the parent's child */
            await(pid);
        if (is_child || pid == 0)
            be_child();
        await(pid);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        free(own[i]);
    return 0;
}
