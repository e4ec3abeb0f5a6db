/* filtered - after a seccomp filter that kills for every system call but those named, the allocator does all that it can do.
 *
 * usage: filtered KIND CALL...     the calls as tests/faults.bats takes them from the manual
 *
 *   blocks     blocks of all sizes
 *   threads    the same in four threads that free each other's blocks, and end
 *   fork       a child allocates
 *   misuse     a second free
 *   guard      a use after free between guard pages (HAKMEM_CONF=guard:1) */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../behaviour/check.h"

#define MOST 80

static const struct {
    const char *name;
    int number;
} calls[] = {
#define CALL(name)        \
    {                     \
#name, SYS_##name \
    }
    CALL(mmap),          CALL(munmap),          CALL(mremap),
    CALL(mprotect),      CALL(madvise),         CALL(futex),
    CALL(getrandom),     CALL(sysinfo),         CALL(clock_gettime),
    CALL(prlimit64),     CALL(openat),          CALL(read),
    CALL(close),         CALL(write),           CALL(rt_sigprocmask),
    CALL(rt_sigpending), CALL(rt_sigtimedwait), CALL(rt_sigaction),
    CALL(rt_sigreturn),  CALL(gettid),          CALL(getpid),
    CALL(tgkill),        CALL(getppid),         CALL(msync),
};

/* The program's own: what libc needs for threads, children and the end. */
static const int own_calls[] = {SYS_exit_group,      SYS_exit, SYS_clone, SYS_clone3,
                                SYS_set_robust_list, SYS_rseq, SYS_wait4};

static void filter(int count, char **names)
{
    struct sock_filter code[MOST];
    unsigned length = 0;
    code[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < count; i++) {
        int number = -1;
        for (size_t k = 0; k < sizeof calls / sizeof calls[0]; k++)
            if (strcmp(calls[k].name, names[i]) == 0)
                number = calls[k].number;
        require(number >= 0, "not known: %s", names[i]);
        code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1);
        code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    for (size_t k = 0; k < sizeof own_calls / sizeof own_calls[0]; k++) {
        code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)own_calls[k], 0, 1);
        code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    const struct sock_fprog program = {.len = (unsigned short)length, .filter = code};
    require(length <= MOST && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0,
            "no filter");
}

static void blocks_of_all_sizes(void)
{
    static void *blocks[20000];
    uint64_t random = 7;
    char *run = realloc(take(700 * KIB), 3 * MIB); /* while nothing waits to which it could be copied */
    require(run != NULL, "a run that grows");
    free(run);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 20000; i++)
            blocks[i] = take(random_between(&random, 1, i % 100 == 0 ? 400000 : 2000));
        char *large = take(5 * MIB);
        for (size_t size = 6; size < 30; size++)
            large = realloc(large, size * MIB);
        require(large != NULL && malloc(PTRDIFF_MAX) == NULL, "large blocks");
        free(large);
        for (unsigned i = 0; i < 20000; i++)
            free(blocks[i]);
        malloc_trim(0);
        for (unsigned i = 0; i < 200000; i++)
            free(malloc(100 + i % 1000));
    }
}

static void *exchange(void *arg)
{
    static void *places[64];
    uint64_t random = (uintptr_t)arg + 1;
    for (unsigned i = 0; i < 100000; i++) {
        void *mine = take(random_between(&random, 1, i % 50 == 0 ? 400000 : 3000));
        free(__atomic_exchange_n(&places[random_next(&random) % 64], mine, __ATOMIC_ACQ_REL));
    }
    return NULL;
}

static void in_threads(void)
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        require(pthread_create(&threads[i], NULL, exchange, (void *)i) == 0, "pthread_create");
    for (unsigned i = 0; i < 4; i++)
        require(pthread_join(threads[i], NULL) == 0, "pthread_join");
}

static void in_child(void)
{
    int status;
    blocks_of_all_sizes();
    pid_t pid = fork();
    if (pid == 0) {
        blocks_of_all_sizes();
        _exit(0);
    }
    require(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "a child ended with %#x", (unsigned)status);
}

static void misuse(void)
{
    void *block = take(100);
    free(block);
    free(opaque(block));
}

static void use_after_free(void)
{
    char *block;
    do
        block = take(47);
    while (malloc_usable_size(block) != 47); /* that of a guarded one is what was asked for */
    free(block);
    *(volatile char *)opaque(block) = 1;
}

static const struct {
    const char *name;
    void (*run)(void);
} kinds[] = {{"blocks", blocks_of_all_sizes},
             {"threads", in_threads},
             {"fork", in_child},
             {"misuse", misuse},
             {"guard", use_after_free}};

int main(int argc, char **argv)
{
    static const char good[] = "good\n";
    void (*run)(void) = NULL;
    for (size_t i = 0; argc > 1 && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, argv[1]) == 0)
            run = kinds[i].run;
    require(run != NULL, "usage: filtered KIND CALL...");
    filter(argc - 2, argv + 2);
    run();
    return write(STDOUT_FILENO, good, sizeof good - 1) == (ssize_t)sizeof good - 1 ? 0 : 1;
}
