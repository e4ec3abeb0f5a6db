/* linked.c - linked with libhakmem.a or libhakmem.so: says which version serves it, when malloc really is hakmem's. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hakmem.h"

static void *work(void *arg)
{
    void *blocks[1000];
    for (size_t i = 0; i < 1000; i++)
        if ((blocks[i] = malloc(i * 9)) == NULL)
            exit(10);
    for (size_t i = 0; i < 1000; i++)
        free(blocks[i]);
    return arg;
}

static int child(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        work(NULL);
        _exit(0);
    }
    int status = -1;
    return waitpid(pid, &status, 0) == pid ? status : -1;
}

int main(void)
{
    struct hk_stats before, after;
    if (strcmp(hk_version(), HK_VERSION) != 0 || hk_stats(&before, sizeof before) != 0)
        return 1;
    char *text = strdup("allocated by libc itself"); /* not inlined: libc's own call of malloc */
    void *aligned = aligned_alloc(4096, 8192);
    if (text == NULL || aligned == NULL || hk_stats(&after, sizeof after) != 0)
        return 2;
    if (after.live_blocks != before.live_blocks + 2 || mallinfo2().uordblks != after.live_bytes - after.huge_bytes)
        return 3;
    free(text);
    free(aligned);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, work, NULL) != 0)
            return 4;
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    if (child() != 0)
        return 5;
    return printf("hakmem %s\n", hk_version()) < 0;
}
