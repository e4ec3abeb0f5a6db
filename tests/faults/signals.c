/* signals - a timer of 10 kHz interrupts threads that allocate; its handler allocates nothing.
 *
 * usage: signals COUNT     ends when so many signals have come */
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include "../behaviour/check.h"

#define THREADS 4
#define SLOTS 512

static volatile sig_atomic_t stop;
static unsigned long seen; /* atomic */
static unsigned long wanted;

static void on_alarm(int signal)
{
    (void)signal;
    if (__atomic_add_fetch(&seen, 1, __ATOMIC_RELAXED) >= wanted)
        stop = 1;
}

static void *work(void *arg)
{
    static __thread unsigned char *blocks[SLOTS];
    static __thread size_t sizes[SLOTS];
    uint64_t random = (uintptr_t)arg + 88172645463325252u;
    while (!stop) {
        size_t slot = random_next(&random) % SLOTS, size = 1 + random_next(&random) % (slot == 0 ? 300000 : 3000);
        if (blocks[slot] != NULL)
            require(blocks[slot][0] == (slot & 255) && blocks[slot][sizes[slot] - 1] == (slot & 255),
                    "a block was changed");
        if (random & 1) {
            free(blocks[slot]);
            blocks[slot] = malloc(size);
        } else {
            blocks[slot] = realloc(blocks[slot], size);
        }
        require(blocks[slot] != NULL, "out of memory");
        sizes[slot] = size;
        blocks[slot][0] = blocks[slot][size - 1] = (unsigned char)slot;
    }
    for (size_t slot = 0; slot < SLOTS; slot++)
        free(blocks[slot]);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    const struct itimerval timer = {{0, 100}, {0, 100}};
    require(argc == 2 && (wanted = strtoul(argv[1], NULL, 10)) > 0, "usage: signals COUNT");
    require(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &timer, NULL) == 0, "no timer");
    for (uintptr_t i = 0; i < THREADS; i++)
        require(pthread_create(&threads[i], NULL, work, (void *)i) == 0, "no thread");
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    const struct itimerval off = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &off, NULL);
    puts("good");
    return 0;
}
