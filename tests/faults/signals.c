/* signals - each of four threads that allocate is interrupted by a timer of its own, of 10 kHz; the handler allocates nothing.
 *
 * A signal to the process would go to the main thread, which sleeps. Most must come within a call of the allocator.
 *
 * usage: signals COUNT     ends when so many signals have come */
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include "../behaviour/check.h"

#define THREADS 4
#define SLOTS 512

static volatile sig_atomic_t stop;
static unsigned long seen, within; /* atomic */
static unsigned long wanted;
static __thread volatile bool calling; /* the allocator */

static void on_alarm(int signal)
{
    (void)signal;
    if (calling)
        __atomic_add_fetch(&within, 1, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&seen, 1, __ATOMIC_RELAXED) >= wanted)
        stop = 1;
}

/* Of the calling thread alone, 10 kHz while it runs. */
static timer_t interrupt_me(void)
{
    const struct itimerspec each = {{0, 100000}, {0, 100000}};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
    timer_t timer;
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    require(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &each, NULL) == 0,
            "no timer");
    return timer;
}

static void *work(void *arg)
{
    static __thread unsigned char *blocks[SLOTS];
    static __thread size_t sizes[SLOTS];
    uint64_t random = (uintptr_t)arg + 88172645463325252u;
    timer_t timer = interrupt_me();
    while (!stop) {
        size_t slot = random_next(&random) % SLOTS, size = 1 + random_next(&random) % (slot == 0 ? 300000 : 3000);
        if (blocks[slot] != NULL)
            require(blocks[slot][0] == (slot & 255) && blocks[slot][sizes[slot] - 1] == (slot & 255),
                    "a block was changed");
        calling = true;
        if (random & 1) {
            free(blocks[slot]);
            blocks[slot] = malloc(size);
        } else {
            blocks[slot] = realloc(blocks[slot], size);
        }
        calling = false;
        require(blocks[slot] != NULL, "out of memory");
        sizes[slot] = size;
        blocks[slot][0] = blocks[slot][size - 1] = (unsigned char)slot;
    }
    timer_delete(timer);
    for (size_t slot = 0; slot < SLOTS; slot++)
        free(blocks[slot]);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    require(argc == 2 && (wanted = strtoul(argv[1], NULL, 10)) > 0, "usage: signals COUNT");
    require(sigaction(SIGALRM, &action, NULL) == 0, "sigaction");
    for (uintptr_t i = 0; i < THREADS; i++)
        require(pthread_create(&threads[i], NULL, work, (void *)i) == 0, "no thread");
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    require(within * 4 > seen, "only %lu of %lu signals came while the allocator was at work", within, seen);
    puts("good");
    return 0;
}
