/* guarded.c - one bug a run, on a block between guard pages (HAKMEM_CONF=guard:1): the report says what it was, with stacks.
 *
 * usage: guarded KIND
 */
#include <dlfcn.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define SIZE 47              /* so that the size that can be used tells a guarded block from another */
#define ALTERNATE_STACK 8192 /* bytes: what SIGSTKSZ once was */
#define NOINLINE __attribute__((noinline))

static void *volatile sink;

static bool is_guarded(void *block, size_t size)
{
    return malloc_usable_size(block) == size;
}

/* Blocks that are not guarded stay allocated. at_end: where an overflow meets the guard page at once; else at the start. */
static NOINLINE char *take_guarded(size_t size, bool at_end)
{
    for (unsigned tries = 0; tries < 1000000; tries++) {
        if (tries % 1000 == 999)
            usleep(1000); /* a hundred a second are guarded at most */
        char *block = malloc(size);
        require(block != NULL, "malloc");
        if (is_guarded(block, size) && ((uintptr_t)block % 65536 != 0) == at_end)
            return block;
    }
    require(false, "no block is guarded");
    return NULL;
}

static NOINLINE void give(void *block)
{
    free(block);
    sink = NULL; /* here and below: no tail call, so that the frame stays on the stack */
}

static NOINLINE void touch(char *at)
{
    *(volatile char *)at = 1;
}

static NOINLINE char look(const char *at)
{
    return *(const volatile char *)at;
}

static char *announce(char *block)
{
    printf("%p\n", (void *)block);
    fflush(stdout);
    return block;
}

static void use_after_free(void)
{
    char *block = announce(take_guarded(SIZE, true));
    give(block);
    look(block + 5);
    sink = NULL;
}

static void write_after_free(void)
{
    char *block = announce(take_guarded(SIZE, false));
    give(block);
    touch(block + 5);
    sink = NULL;
}

static void use_long_after_free(void)
{
    char *block = announce(take_guarded(SIZE, true));
    give(block);
    for (unsigned i = 0; i < 300000; i++)
        free(malloc(SIZE));
    look(block);
    sink = NULL;
}

static void overflow(void)
{
    char *block = announce(take_guarded(48, true));
    touch(block + 48);
    sink = NULL;
}

static void far_overflow(void)
{
    char *block = announce(take_guarded(48, true));
    look(block + 48 + 9000);
    sink = NULL;
}

static void underflow(void)
{
    char *block = announce(take_guarded(SIZE, false));
    look(block - 1);
    sink = NULL;
}

static void small_overflow(void)
{
    char *block = announce(take_guarded(SIZE, true));
    touch(block + SIZE);
    give(block);
    sink = NULL;
}

static void small_underflow(void)
{
    char *block = announce(take_guarded(SIZE, true));
    touch(block - 1);
    give(block);
    sink = NULL;
}

static void double_free(void)
{
    char *block = announce(take_guarded(SIZE, true));
    give(block);
    give(block);
    sink = NULL;
}

static void interior_free(void)
{
    char *block = announce(take_guarded(SIZE, true) + 16);
    give(block);
    sink = NULL;
}

/* A slot that never held a block. */
static void foreign_free(void)
{
    char *block = take_guarded(SIZE, true);
    give(announce((char *)(((uintptr_t)block & ~(uintptr_t)0xffff) + 300 * 65536)));
    sink = NULL;
}

static void realloc_foreign(void)
{
    char *block = take_guarded(SIZE, true);
    sink = realloc(announce(block + (size_t)64 * 65536), 100);
}

/* Allocated by a function of a library, whose name the loader knows. */
static void in_library(void)
{
    static const char text[] = "a text of forty-six characters, and a NUL more";
    _Static_assert(sizeof text == SIZE, "the size that tells");
    char *block = strdup(text);
    while (!is_guarded(block, SIZE)) {
        usleep(1000);
        block = strdup(text);
    }
    give(announce(block));
    look(block);
    sink = NULL;
}

static void realloc_freed(void)
{
    char *block = announce(take_guarded(SIZE, true));
    give(block);
    sink = realloc(block, 100);
}

/* Each allocation is due to be guarded: at most a hundred a second are, and sixteen at once. */
static void rate(void)
{
    uint64_t begin = now_ms(), elapsed, guarded = 0;
    while (now_ms() - begin < 500) {
        char *block = take(SIZE);
        guarded += is_guarded(block, SIZE);
        free(block);
    }
    elapsed = now_ms() - begin;
    require(guarded > 16 && guarded <= 17 + elapsed / 50, "%zu blocks guarded in %zu ms", (size_t)guarded,
            (size_t)elapsed);
    puts("good");
}

static void *free_it(void *block)
{
    give(block);
    return sink;
}

static void freed_by_thread(void)
{
    pthread_t thread;
    char *block = announce(take_guarded(SIZE, true));
    require(pthread_create(&thread, NULL, free_it, block) == 0 && pthread_join(thread, NULL) == 0, "thread");
    look(block);
    sink = NULL;
}

/* ---- the program's own handlers ---- */

static sigjmp_buf back;
static struct sigaction before;

static void say(const char *text)
{
    require(write(STDOUT_FILENO, text, strlen(text)) > 0, "write");
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    say(signal == SIGSEGV && info->si_addr != NULL ? "handler\n" : "wrong\n");
}

static void on_fault_plain(int signal)
{
    (void)signal;
    say("plain handler\n");
}

static void jump_back(int signal)
{
    siglongjmp(back, signal);
}

/* As libraries do that were taught to be good neighbours. */
static void call_before(int signal, siginfo_t *info, void *context)
{
    say("chained\n");
    if (before.sa_flags & SA_SIGINFO)
        before.sa_sigaction(signal, info, context);
}

static void install(void (*plain)(int), void (*full)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_flags = flags | (full != NULL ? SA_SIGINFO : 0)};
    if (full != NULL)
        action.sa_sigaction = full;
    else
        action.sa_handler = plain;
    require(sigaction(SIGSEGV, &action, &before) == 0, "sigaction");
}

static void handler(void)
{
    install(NULL, on_fault, 0);
    use_after_free();
}

static void plain_handler(void)
{
    install(on_fault_plain, NULL, SA_RESETHAND);
    use_after_free();
}

static void later_handler(void)
{
    char *block = take_guarded(SIZE, true);
    install(NULL, on_fault, 0);
    take_guarded(SIZE, true); /* a guarded allocation looks whose the signal is */
    announce(block);
    give(block);
    look(block);
}

static void on_alternate_stack(void)
{
    char *stack = own_memory(2 * ALTERNATE_STACK);
    stack_t alternate = {.ss_sp = stack + ALTERNATE_STACK, .ss_size = ALTERNATE_STACK};
    require(mprotect(stack, ALTERNATE_STACK, PROT_NONE) == 0, "mprotect"); /* what is too much ends here */
    require(sigaltstack(&alternate, NULL) == 0, "sigaltstack");
    install(NULL, on_fault, SA_ONSTACK);
    use_after_free();
}

/* A fault that is none of hakmem's goes to the program's handler, again and again, with nothing said. */
static void other_faults(void)
{
    take_guarded(SIZE, true);
    install(jump_back, NULL, SA_NODEFER);
    take_guarded(SIZE, true);
    for (volatile unsigned i = 0; i < 5; i++) {
        if (sigsetjmp(back, 1) == 0)
            look((const char *)(uintptr_t)16);
    }
    say("five faults\n");
}

/* Handlers that a program installs for a while, and takes back by what it found before: from then on the default is in force again. */
static void restored_fault(void)
{
    for (volatile unsigned i = 0; i < 100; i++) {
        if (i % 10 == 0)
            take_guarded(SIZE, true);
        install(jump_back, NULL, SA_NODEFER);
        if (i % 10 == 0)
            take_guarded(SIZE, true);
        if (sigsetjmp(back, 1) == 0)
            look((const char *)(uintptr_t)16);
        require(sigaction(SIGSEGV, &before, NULL) == 0, "sigaction");
    }
    if (sigsetjmp(back, 1) == 0)
        look((const char *)(uintptr_t)16);
    say("a handler that is none any longer\n");
}

static void default_fault(void)
{
    take_guarded(SIZE, true);
    look((const char *)(uintptr_t)16);
}

/* Its handler calls the one from before, which is hakmem's: the default is what is left. */
static void chained_fault(void)
{
    take_guarded(SIZE, true);
    install(NULL, call_before, 0);
    take_guarded(SIZE, true);
    look((const char *)(uintptr_t)16);
}

static void sent_signal(void)
{
    take_guarded(SIZE, true);
    kill(getpid(), SIGSEGV);
    say("still there\n");
}

/* ---- without a bug ---- */

/* Every way to have and to give back a guarded block. */
static void good(void)
{
    void (*free_sized_of)(void *, size_t);
    *(void **)&free_sized_of = dlsym(RTLD_DEFAULT, "free_sized");
    unsigned guarded = 0;
    for (unsigned i = 0; i < 200000 || guarded < 50; i++) {
        if (i % 1000 == 999)
            usleep(1000);
        size_t size = 1 + i % 3000, more = size + 1 + i % 50;
        unsigned char *block = i % 7 == 0 ? calloc(1, size) : malloc(size);
        require(block != NULL && (uintptr_t)block % 16 == 0 && malloc_usable_size(block) >= size, "a block");
        guarded += (size % 16 != 0) && is_guarded(block, size);
        for (size_t at = 0; i % 7 == 0 && at < size; at++)
            require(block[at] == 0, "calloc's zeros");
        memset(block, (int)i, size);
        block = realloc(block, more);
        require(block != NULL && block[0] == (unsigned char)i && block[size - 1] == (unsigned char)i, "realloc keeps");
        guarded += (more % 16 != 0) && is_guarded(block, more);
        memset(block, (int)i, malloc_usable_size(block));
        if (i % 3 == 0 && free_sized_of != NULL)
            free_sized_of(block, more);
        else
            free(block);
        void *aligned = aligned_alloc(256, 768);
        require(aligned != NULL && (uintptr_t)aligned % 256 == 0, "aligned");
        memset(aligned, 1, 768);
        free(aligned);
    }
    pid_t child = fork();
    if (child == 0) {
        char *block = take_guarded(SIZE, true);
        give(block);
        _exit(0);
    }
    int status;
    require(waitpid(child, &status, 0) == child && status == 0, "the child's end");
    say("good\n");
}

/* Says "on" when blocks begin to be guarded, "off" when none was for 300 ms, until standard input ends. */
static void watch(void)
{
    bool on = false;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    for (unsigned idle_ms = 0; poll(&input, 1, 0) == 0; idle_ms++) {
        bool any = false;
        for (unsigned i = 0; i < 3000; i++) {
            void *block = malloc(SIZE);
            any |= is_guarded(block, SIZE);
            free(block);
        }
        if (any && !on)
            say("on\n");
        if (!any && on && idle_ms >= 300)
            say("off\n");
        on = any || (on && idle_ms < 300);
        if (any)
            idle_ms = 0;
        usleep(1000);
    }
}

static const struct {
    const char *name;
    void (*run)(void);
} kinds[] = {
#define KIND(name)  \
    {               \
#name, name \
    }
    KIND(use_after_free),
    KIND(write_after_free),
    KIND(use_long_after_free),
    KIND(overflow),
    KIND(far_overflow),
    KIND(underflow),
    KIND(small_overflow),
    KIND(small_underflow),
    KIND(double_free),
    KIND(interior_free),
    KIND(foreign_free),
    KIND(realloc_freed),
    KIND(realloc_foreign),
    KIND(in_library),
    KIND(rate),
    KIND(freed_by_thread),
    KIND(handler),
    KIND(plain_handler),
    KIND(later_handler),
    KIND(on_alternate_stack),
    KIND(other_faults),
    KIND(restored_fault),
    KIND(default_fault),
    KIND(chained_fault),
    KIND(sent_signal),
    KIND(good),
    KIND(watch),
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, argv[1]) == 0) {
            kinds[i].run();
            return 0;
        }
    fprintf(stderr, "usage: guarded KIND\n");
    return 2;
}
