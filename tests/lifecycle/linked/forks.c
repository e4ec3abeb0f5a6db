/* forks - linked with libhakmem.a, and with a library whose constructor comes before the program's: forks while threads allocate,
 * some of them under the library's lock if it has one. Children allocate. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((weak)) void handlers_churn(void);

static atomic_bool stop;

static void churn(unsigned *random)
{
    void *blocks[40];
    for (unsigned i = 0; i < 40; i++) {
        *random = *random * 1103515245 + 12345;
        blocks[i] = malloc(*random >> 16);
        if (blocks[i] == NULL)
            _exit(3);
    }
    for (unsigned i = 0; i < 40; i++)
        free(blocks[i]);
}

static void *allocate(void *arg)
{
    unsigned random = (unsigned)(size_t)arg;
    while (!stop) {
        churn(&random);
        if (handlers_churn != NULL)
            handlers_churn();
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[4];
    unsigned random = 9;
    for (size_t i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, allocate, (void *)i) != 0)
            return 4;
    for (unsigned i = 0; i < 50; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            for (unsigned k = 0; k < 50; k++)
                churn(&random);
            _exit(0);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            return 5;
    }
    stop = 1;
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    puts("hakmem forks");
    return 0;
}
