/* filtered - after a seccomp filter that kills for every system call but those named, the allocator does all that it can do.
 *
 * usage: filtered CALL...     as tests/faults.bats takes them from the manual */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "../behaviour/check.h"

#define MOST 64

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
    code[length++] =
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1); /* the program's own */
    code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    const struct sock_fprog program = {.len = (unsigned short)length, .filter = code};
    require(length <= MOST && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0,
            "no filter");
}

int main(int argc, char **argv)
{
    static void *blocks[20000];
    filter(argc - 1, argv + 1);
    uint64_t random = 7;
    char *run = realloc(take(700 * KIB), 3 * MIB); /* while nothing waits to which it could be copied */
    require(run != NULL, "a run that grows");
    free(run);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 20000; i++) {
            blocks[i] = malloc(random_between(&random, 1, i % 100 == 0 ? 400000 : 2000));
            require(blocks[i] != NULL, "out of memory");
        }
        char *large = malloc(5 * MIB);
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
    static const char good[] = "good\n";
    return write(STDOUT_FILENO, good, sizeof good - 1) == (ssize_t)sizeof good - 1 ? 0 : 1;
}
