/* fork_in_handler - signal handlers that fork, wherever they interrupt eight allocating threads. Each child allocates at once, in the
 * handler, and ends there; nobody hangs, and the parent's blocks stay what they are.
 *
 *   fork_in_handler CHILDREN */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "../behaviour/account_access.h"

#define THREADS 8u

static bool stop;
static pid_t children[THREADS]; /* each thread's last, until it was waited for */
static __thread unsigned idx;

static size_t any_size(uint64_t *random)
{
    unsigned kind = (unsigned)random_next(random) % 100;
    return random_between(random, 8, kind == 0 ? 3 * MIB : kind < 10 ? 40 * KIB : 1040);
}

static void turn_over(void **own, unsigned count, uint64_t *random, const char *whose)
{
    unsigned i = (unsigned)random_next(random) % count;
    if (own[i] != NULL) {
        check_marked(own[i], whose);
        free(own[i]);
    }
    size_t size = any_size(random);
    mark(own[i] = take(size), size > 2000 ? 2000 : size, (uint32_t)*random);
}

static void in_child(void)
{
    void *own[300] = {NULL};
    uint64_t random = (uint64_t)getpid();
    alarm(60); /* a child that hangs ends with another status */
    for (unsigned i = 0; i < 1500; i++)
        turn_over(own, i < 1000 ? 300 : 30, &random, "a child");
    for (unsigned i = 0; i < 300; i++)
        free(own[i]);
    _exit(23);
}

static void on_signal(int signal)
{
    int saved = errno;
    (void)signal;
    pid_t pid = fork();
    if (pid == 0)
        in_child();
    __atomic_store_n(&children[idx], pid, __ATOMIC_RELEASE);
    errno = saved;
}

static void *work(void *arg)
{
    void *own[200] = {NULL};
    idx = (unsigned)(uintptr_t)arg;
    uint64_t random = idx + 1;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        turn_over(own, 200, &random, "a thread");
    for (unsigned i = 0; i < 200; i++)
        free(own[i]);
    return NULL;
}

/* The child of thread `t`, which is on its way. */
static void await(unsigned t)
{
    int status;
    pid_t pid;
    for (unsigned tries = 0; (pid = __atomic_exchange_n(&children[t], 0, __ATOMIC_ACQUIRE)) == 0; tries++) {
        require(tries < 60000, "thread %u hangs in fork", t);
        sleep_us(1000);
    }
    require(pid > 0, "no child");
    require(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 23,
            "a child ended with wait status %#x", status);
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    require(argc == 2, "usage: fork_in_handler CHILDREN");
    require(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
    for (uintptr_t i = 0; i < THREADS; i++)
        require(pthread_create(&threads[i], NULL, work, (void *)i) == 0, "pthread_create");
    sleep_us(20000);
    for (unsigned long n = 0; n < strtoul(argv[1], NULL, 10); n += 2) { /* two at once: one's locks are the other's */
        pthread_kill(threads[n % THREADS], SIGUSR1);
        pthread_kill(threads[(n + 3) % THREADS], SIGUSR1);
        await(n % THREADS);
        await((n + 3) % THREADS);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < THREADS; i++)
        require(pthread_join(threads[i], NULL) == 0, "pthread_join");
    return 0;
}
