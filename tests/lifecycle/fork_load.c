/* fork_load - new processes while eight threads allocate, or sleep; parent and children go on, and their counts are right.
 *
 *   fork_load fork|clone|vfork|spawn|popen|workers busy|idle ROUNDS
 *
 * fork: each child starts threads itself, and a child of its own. workers: the eight threads fork, in turn with what they allocate. clone: by the raw system call, of which no handler hears.
 * With libhandlers.so preloaded, handlers of fork allocate, and threads allocate under a lock that a handler takes. */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../behaviour/account_access.h"

#define THREADS 8u
#define OWN 500u

extern char **environ;

static void (*handlers_churn)(void); /* of libhandlers.so, where that is preloaded */
static bool busy, stop;
static uint64_t turns[THREADS];
static pthread_barrier_t started;
static void *inherited[OWN];

static uint64_t live_blocks(void)
{
    struct hk_stats stats;
    require(process_stats(&stats, sizeof(stats)) == 0, "hk_stats");
    return stats.live_blocks;
}

static uint64_t generation(void)
{
    struct hk_stats stats;
    require(process_stats(&stats, sizeof(stats)) == 0, "hk_stats");
    return stats.generation;
}

static size_t any_size(uint64_t *random)
{
    unsigned kind = (unsigned)random_next(random) % 100;
    return random_between(random, 8, kind == 0 ? 3 * MIB : kind < 5 ? 40 * KIB : 1040);
}

static void wait_for(pid_t pid, int wanted)
{
    int status = 0;
    require(pid > 0, "no child: errno %d", errno);
    pid_t got;
    while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
        continue;
    require(got == pid && WIFEXITED(status) && WEXITSTATUS(status) == wanted, "a child ended with wait status %#x",
            status);
}

static bool workers_fork;
static uint64_t worker_forks;

/* From a thread that allocates: the child has what was the thread's, and allocates at once. */
static void fork_here(void **own, unsigned count)
{
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        for (unsigned i = 0; i < count; i++) {
            if (own[i] != NULL)
                check_marked(own[i], "a worker's child");
            free(own[i]);
            own[i] = take(10 + 30 * i);
        }
        for (unsigned i = 0; i < count; i++)
            free(own[i]);
        _exit(23);
    }
    wait_for(pid, 23);
    __atomic_fetch_add(&worker_forks, 1, __ATOMIC_RELAXED);
}

static void *allocate_on_and_on(void *arg)
{
    unsigned idx = (unsigned)(uintptr_t)arg;
    uint64_t random = idx + 1;
    void *own[100] = {NULL};
    size_t size;
    for (unsigned turn = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); turn++) {
        unsigned i = (unsigned)random_next(&random) % 100;
        if (own[i] != NULL) {
            check_marked(own[i], "a thread");
            free(own[i]);
        }
        size = any_size(&random);
        mark(own[i] = take(size), size > 4000 ? 4000 : size, (uint32_t)random);
        __atomic_store_n(&turns[idx], turn, __ATOMIC_RELAXED);
        if (turn % 16 == 0 && handlers_churn != NULL)
            handlers_churn();
        if (workers_fork && turn % 200 == 199)
            fork_here(own, 100);
        if (turn == 500)
            pthread_barrier_wait(&started);
        while (turn >= 500 && !busy && !__atomic_load_n(&stop, __ATOMIC_RELAXED))
            sleep_us(1000);
    }
    for (unsigned i = 0; i < 100; i++)
        free(own[i]);
    return NULL;
}

static void fill(uint64_t seed)
{
    for (unsigned i = 0; i < OWN; i++) {
        size_t size = any_size(&seed);
        mark(inherited[i] = take(size), size > 4000 ? 4000 : size, i);
    }
}

static void *work(void *arg)
{
    uint64_t random = (uintptr_t)arg + 99;
    void *own[300];
    for (unsigned i = 0; i < 300; i++)
        memset(own[i] = take(any_size(&random)), 0xaa, 8);
    for (unsigned i = 0; i < 300; i++)
        free(own[i]);
    return NULL;
}

/* With one thread alone, counts are exact. */
static void count_in_child(uint64_t parent_generation)
{
    require(generation() != parent_generation, "the child's account is the parent's");
    uint64_t before = live_blocks();
    require(before >= OWN, "%llu blocks live in the child", (unsigned long long)before);
    static void *own[1000];
    uint64_t random = parent_generation + 7;
    for (unsigned i = 0; i < 1000; i++)
        own[i] = take(any_size(&random));
    require(live_blocks() == before + 1000, "1000 blocks count %lld in the child", (long long)(live_blocks() - before));
    for (unsigned i = 0; i < OWN; i++) {
        check_marked(inherited[i], "the child");
        free(inherited[i]);
    }
    require(live_blocks() == before + 1000 - OWN, "freeing %u inherited blocks counts %lld", OWN,
            (long long)(before + 1000 - live_blocks()));
    for (unsigned i = 0; i < 1000; i++)
        free(own[i]);
    struct hk_stats stats;
    struct mallinfo2 info = mallinfo2();
    require(process_stats(&stats, sizeof(stats)) == 0 && info.uordblks == stats.live_bytes - stats.huge_bytes &&
                info.hblkhd == stats.huge_bytes && info.hblks == stats.huge_blocks,
            "mallinfo2 tells %zu + %zu bytes in the child, hk_stats %llu", info.uordblks, info.hblkhd,
            (unsigned long long)stats.live_bytes);
    require(live_blocks() == before - OWN, "blocks live in the child: %llu before, %llu after",
            (unsigned long long)before, (unsigned long long)live_blocks());
}

static void threads_in_child(void)
{
    pthread_t threads[2];
    uint64_t warm = 0;
    for (unsigned round = 0; round < 2; round++) {
        for (uintptr_t i = 0; i < 2; i++)
            require(pthread_create(&threads[i], NULL, work, (void *)i) == 0, "pthread_create in the child");
        for (unsigned i = 0; i < 2; i++)
            require(pthread_join(threads[i], NULL) == 0, "pthread_join in the child");
        if (round == 0) /* libc keeps a stack and its blocks */
            warm = live_blocks();
    }
    require(live_blocks() == warm, "threads of the child left %lld blocks", (long long)(live_blocks() - warm));
}

static void round_fork(bool grandchild)
{
    uint64_t parent_generation = generation();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        count_in_child(parent_generation);
        threads_in_child();
        if (grandchild) {
            fill(parent_generation + 1);
            round_fork(false);
        }
        exit(23); /* through the destructors */
    }
    wait_for(pid, 23);
}

static void round_clone(void)
{
    uint64_t parent_generation = generation();
    long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        alarm(60);
        free(take(40 * KIB)); /* the very first calls: a lock of a thread that is not here must not be waited for */
        free(take(3 * MIB));
        count_in_child(parent_generation);
        _exit(23);
    }
    wait_for((pid_t)pid, 23);
}

static void round_vfork(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", "exit 23", (char *)NULL);
        _exit(1);
    }
    wait_for(pid, 23);
}

static void round_spawn(void)
{
    pid_t pid;
    char *arguments[] = {"sh", "-c", "exit 23", NULL};
    require(posix_spawn(&pid, "/bin/sh", NULL, NULL, arguments, environ) == 0, "posix_spawn");
    wait_for(pid, 23);
}

static void round_popen(void)
{
    char text[16] = "";
    FILE *pipe = popen("echo hello", "r");
    require(pipe != NULL && fgets(text, sizeof(text), pipe) != NULL && strcmp(text, "hello\n") == 0, "popen");
    require(pclose(pipe) == 0 && system("exit 3") == 3 << 8, "pclose, system");
}

static void round_workers(void)
{
    uint64_t before = __atomic_load_n(&worker_forks, __ATOMIC_RELAXED);
    for (int tries = 0; __atomic_load_n(&worker_forks, __ATOMIC_RELAXED) < before + THREADS; tries++) {
        require(tries < 60000, "the workers' forks hang");
        sleep_us(1000);
    }
}

static void one_round(const char *way)
{
    if (strcmp(way, "fork") == 0)
        round_fork(true);
    else if (strcmp(way, "clone") == 0)
        round_clone();
    else if (strcmp(way, "vfork") == 0)
        round_vfork();
    else if (strcmp(way, "spawn") == 0)
        round_spawn();
    else if (workers_fork)
        round_workers();
    else
        round_popen();
}

int main(int argc, char **argv)
{
    require(argc == 4, "usage: fork_load fork|clone|vfork|spawn|popen|workers busy|idle ROUNDS");
    busy = strcmp(argv[2], "busy") == 0;
    workers_fork = strcmp(argv[1], "workers") == 0;
    account_open();
    handlers_churn = (void (*)(void))dlsym(RTLD_DEFAULT, "handlers_churn");
    pthread_t threads[THREADS];
    pthread_barrier_init(&started, NULL, THREADS + 1);
    for (uintptr_t i = 0; i < THREADS; i++)
        require(pthread_create(&threads[i], NULL, allocate_on_and_on, (void *)i) == 0, "pthread_create");
    pthread_barrier_wait(&started);
    fill(1);
    uint64_t parent_generation = generation();
    for (int round = 0; round < atoi(argv[3]); round++) {
        one_round(argv[1]);
        for (unsigned i = (unsigned)round % 7; i < OWN; i += 7) {
            check_marked(inherited[i], "the parent");
            free(inherited[i]);
            mark(inherited[i] = take(100 + i), 100 + i, i);
        }
    }
    for (unsigned i = 0; busy && i < THREADS; i++) { /* no thread hangs */
        uint64_t turn = __atomic_load_n(&turns[i], __ATOMIC_RELAXED);
        for (int tries = 0; __atomic_load_n(&turns[i], __ATOMIC_RELAXED) == turn; tries++) {
            require(tries < 30000, "thread %u of the parent hangs", i);
            sleep_us(1000);
        }
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < THREADS; i++)
        require(pthread_join(threads[i], NULL) == 0, "pthread_join");
    require(generation() == parent_generation, "the parent's generation changed");
    uint64_t before = live_blocks();
    for (unsigned i = 0; i < OWN; i++)
        free(inherited[i]);
    require(live_blocks() == before - OWN, "%u frees count %lld", OWN, (long long)(before - live_blocks()));
    return 0;
}
