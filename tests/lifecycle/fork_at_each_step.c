/* fork_at_each_step - single-steps calls of the allocator, and forks in the trap's handler at one instruction in EVERY. The children
 * allocate and free in the handler; none may have a block twice, or lose a large one.
 *
 *   fork_at_each_step EVERY */
#include <malloc.h>
#include <signal.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "../behaviour/account_access.h"

#define TRAP_FLAG 0x100
#define LOST_MOST (32 * KIB) /* what a child cannot know of the lists that were caught in a change: blocks of a cache */

static const size_t sizes[] = {24, 1040, 40 * KIB, 50 * KIB, 300 * KIB, 3 * MIB};
#define SIZES (sizeof sizes / sizeof *sizes)
#define EACH 3u

static volatile sig_atomic_t stepping;
static unsigned long every, steps, forks;

static void use_all(void)
{
    void *blocks[SIZES * EACH];
    for (unsigned i = 0; i < SIZES * EACH; i++)
        mark(blocks[i] = take(sizes[i % SIZES]), sizes[i % SIZES] < 2000 ? sizes[i % SIZES] : 2000, i + 1);
    for (unsigned i = 0; i < SIZES * EACH; i++) {
        check_marked(blocks[i], "a child");
        free(blocks[i]);
    }
}

static _Noreturn void be_child(void)
{
    alarm(60); /* a child that hangs ends with another status */
    use_all();
    size_t before = mallinfo2().uordblks;
    use_all();
    size_t after = mallinfo2().uordblks;
    require(after < before + LOST_MOST && before < after + LOST_MOST, "step %lu: %zu bytes are live, %zu were", steps,
            after, before);
    _exit(23);
}

static void fork_here(void)
{
    int status, saved = errno;
    pid_t pid = fork();
    require(pid >= 0, "no child: errno %d", errno);
    if (pid == 0)
        be_child();
    forks++;
    require(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 23,
            "step %lu: a child ended with wait status %#x", steps, (unsigned)status);
    errno = saved;
}

/* The first comes by raise(), the others by the flag that this one sets. */
static void on_trap(int signal, siginfo_t *info, void *raw_context)
{
    ucontext_t *context = raw_context;
    (void)signal;
    if (!stepping) {
        context->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
        return;
    }
    context->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
    if (info->si_code == TRAP_TRACE && ++steps % every == 0)
        fork_here();
}

static void watched(void)
{
    void *blocks[SIZES * EACH];
    for (unsigned i = 0; i < SIZES * EACH; i++)
        blocks[i] = malloc(sizes[i % SIZES]);
    blocks[2] = realloc(blocks[2], 60 * KIB);
    blocks[3] = realloc(blocks[3], 30 * KIB);
    for (unsigned i = 0; i < SIZES * EACH; i++)
        free(blocks[i]);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    require(argc == 2 && (every = strtoul(argv[1], NULL, 10)) > 0, "usage: fork_at_each_step EVERY");
    require(sigaction(SIGTRAP, &action, NULL) == 0, "sigaction");
    use_all();
    size_t before = mallinfo2().uordblks;
    stepping = 1;
    raise(SIGTRAP);
    watched();
    stepping = 0;
    for (unsigned i = 0; i < 20; i++)
        use_all();
    require(mallinfo2().uordblks == before, "%zu bytes are live, %zu were", mallinfo2().uordblks, before);
    require(forks > 100, "%lu forks", forks);
    printf("%lu steps, %lu forks\n", steps, forks);
    return 0;
}
