/* late_exit - calls while the process ends and after the allocator's own destructor.
 *
 *   late_exit return|exit|quick|thread|main_first     which way it ends, with 0
 *   late_exit running                                 by exit(3) while eight threads allocate                       */
#include <pthread.h>

#include "../behaviour/check.h"

static void *blocks[100];

/* Frees what was allocated before and allocates anew: what comes next finds blocks of whatever came before it. */
static void turn_over(void)
{
    for (unsigned i = 0; i < 100; i++) {
        size_t size = 16 + (size_t)i * i * 40;
        if (blocks[i] != NULL) {
            require(check_marked(blocks[i], "late_exit") == size, "size");
            free(blocks[i]);
        }
        mark(blocks[i] = take(size), size, i);
    }
    blocks[0] = realloc(blocks[0], 3 * MIB);
    require(blocks[0] != NULL, "realloc");
    blocks[0] = realloc(blocks[0], 16);
    require(blocks[0] != NULL, "realloc");
    errno = 0;
}

static void on_exit_turn_over(int status, void *arg)
{
    turn_over();
    require(status == 0 && arg == blocks, "on_exit");
}

__attribute__((destructor(101))) static void last(void)
{
    turn_over();
}

__attribute__((destructor)) static void destructor(void)
{
    turn_over();
}

static void *exit_from_thread(void *arg)
{
    turn_over();
    exit(arg != NULL);
}

static void *end_last(void *arg)
{
    require(pthread_join(*(pthread_t *)arg, NULL) == 0, "pthread_join");
    turn_over();
    return NULL; /* the last thread: the process ends as by exit(0) */
}

static void *run_for_ever(void *arg)
{
    uint64_t random = (uintptr_t)arg + 1;
    void *own[64] = {NULL};
    for (;;) {
        unsigned i = (unsigned)random_next(&random) % 64;
        free(own[i]);
        own[i] = take(random_between(&random, 1, i == 0 ? 500 * KIB : 2000));
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const char *way = argc == 2 ? argv[1] : "";
    static pthread_t main_thread;
    pthread_t thread;
    turn_over();
    require(atexit(turn_over) == 0 && at_quick_exit(turn_over) == 0 && on_exit(on_exit_turn_over, blocks) == 0,
            "atexit");
    if (strcmp(way, "return") == 0)
        return 0;
    if (strcmp(way, "exit") == 0)
        exit(0);
    if (strcmp(way, "quick") == 0)
        quick_exit(0);
    if (strcmp(way, "thread") == 0) {
        require(pthread_create(&thread, NULL, exit_from_thread, NULL) == 0, "pthread_create");
        for (;;)
            pause();
    }
    if (strcmp(way, "main_first") == 0) {
        main_thread = pthread_self();
        require(pthread_create(&thread, NULL, end_last, &main_thread) == 0, "pthread_create");
        pthread_exit(NULL);
    }
    require(strcmp(way, "running") == 0, "usage: late_exit return|exit|quick|thread|main_first|running");
    for (uintptr_t i = 0; i < 8; i++)
        require(pthread_create(&thread, NULL, run_for_ever, (void *)i) == 0, "pthread_create");
    sleep_us(2000);
    return 0;
}
