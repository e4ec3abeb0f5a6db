/* holder - holds memory in a way that is known, and does what it is told on standard input, a line each:
 *
 *   trim    malloc_trim(0), then a line with what it gave back of the RSS, in bytes
 *   drop    frees all that it holds
 *   info    a line: mallinfo2's bytes in use, those of huge blocks included
 *
 * It answers each with a line. The first, "ready", comes when all is as its kind says:
 *
 *   holder mixed       blocks of all sizes, half of them freed again
 *   holder hoard       the same, and a thread that freed 4 MB of blocks and sleeps
 *   holder disaster    gigabytes of 16-byte blocks freed but for the first of each 64 KiB: some 278 KB live
 *   holder headless    mixed; the main thread has ended, another answers
 *   holder exec|fork   ready, then calls exec, or forks, again and again */
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>

#include "../behaviour/check.h"

#define MIXED 20000u
#define UNIT ((uintptr_t)65536)
#define DISASTER ((size_t)1160 * MIB)

static void *held[MIXED];
static void **chain; /* of the disaster's blocks, each begins with the address of the next */

static void hold_mixed(void)
{
    uint64_t random = 7;
    for (unsigned i = 0; i < MIXED; i++) {
        unsigned kind = (unsigned)(random_next(&random) % 1000);
        size_t size = random_between(&random, 1,
                                     kind < 2     ? 5 * MIB
                                     : kind < 20  ? 200 * KIB
                                     : kind < 200 ? 20000
                                                  : 1000);
        held[i] = take(size);
        memset(held[i], 1, size);
    }
    for (unsigned i = 0; i < MIXED; i += 2) {
        free(held[i]);
        held[i] = NULL;
    }
}

static void hold_disaster(void)
{
    void **all = NULL;
    for (size_t bytes = 0; bytes < DISASTER; bytes += 16) {
        void **block = take(16);
        *block = all;
        all = block;
    }
    uintptr_t last = 0;
    while (all != NULL) {
        void **next = *all;
        if ((uintptr_t)all / UNIT != last) {
            last = (uintptr_t)all / UNIT;
            *all = chain;
            chain = all;
        } else {
            free(all);
        }
        all = next;
    }
}

static void drop(void)
{
    for (unsigned i = 0; i < MIXED; i++)
        free(held[i]);
    memset(held, 0, sizeof held);
    while (chain != NULL) {
        void **next = *chain;
        free(chain);
        chain = next;
    }
}

static void *hoard(void *arg)
{
    static void *blocks[4096];
    for (unsigned i = 0; i < 4096; i++)
        blocks[i] = take(1000);
    for (unsigned i = 0; i < 4096; i++)
        free(blocks[i]);
    pthread_barrier_wait(arg);
    pause();
    return NULL;
}

static void start_hoarder(void)
{
    static pthread_barrier_t barrier;
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    require(pthread_create(&thread, NULL, hoard, &barrier) == 0, "pthread_create");
    pthread_barrier_wait(&barrier);
}

static void answer(const char *format, size_t value)
{
    char line[64];
    int length = snprintf(line, sizeof line, format, value);
    require(write(STDOUT_FILENO, line, (size_t)length) == length, "write");
}

/* "KIND" as its own program again and again: what looks at it finds another program under the same id. */
static void exec_on(char **argv)
{
    hold_mixed();
    if (argv[2] == NULL)
        answer("ready\n", 0);
    execl("/proc/self/exe", argv[0], argv[1], "again", (char *)NULL);
    fail("exec: errno %d", errno);
}

static void fork_on(void)
{
    answer("ready\n", 0);
    for (;;) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        require(pid > 0 && waitpid(pid, NULL, 0) == pid, "fork");
        free(take(5000));
    }
}

static void *obey(void *arg)
{
    char line[32];
    for (ssize_t length; (length = read(STDIN_FILENO, line, sizeof line - 1)) > 0;) {
        line[length] = '\0';
        if (strcmp(line, "trim\n") == 0) {
            size_t before = rss_bytes();
            malloc_trim(0);
            answer("%zu\n", before - rss_bytes());
        } else if (strcmp(line, "drop\n") == 0) {
            drop();
            answer("dropped\n", 0);
        } else if (strcmp(line, "info\n") == 0) {
            struct mallinfo2 info = mallinfo2();
            answer("%zu\n", info.uordblks + info.hblkhd);
        } else {
            fail("what is '%s'?", line);
        }
    }
    exit(0);
    return arg;
}

static void *obey_alone(void *leader)
{
    pthread_join(*(pthread_t *)leader, NULL);
    answer("ready\n", 0);
    return obey(NULL);
}

int main(int argc, char **argv)
{
    static pthread_t leader;
    pthread_t follower;
    const char *kind = argc > 1 ? argv[1] : "";
    if (strcmp(kind, "exec") == 0)
        exec_on(argv);
    if (strcmp(kind, "disaster") == 0)
        hold_disaster();
    else
        hold_mixed();
    if (strcmp(kind, "hoard") == 0)
        start_hoarder();
    if (strcmp(kind, "fork") == 0)
        fork_on();
    if (strcmp(kind, "headless") == 0) {
        leader = pthread_self();
        require(pthread_create(&follower, NULL, obey_alone, &leader) == 0, "pthread_create");
        pthread_exit(NULL);
    }
    answer("ready\n", 0);
    obey(NULL);
}
