/* after_misuse KIND ROUNDS - a program whose handler of SIGABRT allocates, and leaves by siglongjmp: it goes on, and each of its
 * bugs is told.
 *
 * Ends with status 0 and "survived ROUNDS", when its memory has gone back; the lines on standard error are ROUNDS too. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>

#include "check.h"

#define BLOCKS 3000u

static sigjmp_buf before_the_bug;

/* Of the sizes that the bugs are in, too, and so many that lists are filled, cut and drained. */
static void churn(void)
{
    static void *blocks[BLOCKS];
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < BLOCKS; i++) {
            size_t size = i % 2 == 0 ? 112 : 16 + i * 7 % 9000;
            mark(blocks[i] = take(size), size, i);
        }
        for (unsigned i = 0; i < BLOCKS; i++) {
            check_marked(blocks[i], "churn");
            free(blocks[i]);
        }
    }
    free(take(50 * KIB));
    free(take(5 * MIB));
}

static void allocate_and_leave(int signal)
{
    (void)signal;
    churn();
    siglongjmp(before_the_bug, 1);
}

static void free_twice(size_t size)
{
    void *ptr = take(size);
    free(ptr);
    free(opaque(ptr));
}

static void double_free(void)
{
    free_twice(112);
}

static void double_free_large(void)
{
    free_twice(50 * KIB);
}

static void double_free_huge(void)
{
    free_twice(5 * MIB);
}

static void free_interior(void)
{
    free((char *)take(112) + 16);
}

static void free_foreign(void)
{
    static char memory[64] __attribute__((aligned(16)));
    free(opaque(memory));
}

static void realloc_freed(void)
{
    void *ptr = take(112);
    free(ptr);
    opaque(realloc(opaque(ptr), 200));
}

static void overwrite_then_take(void)
{
    uint64_t *ptr = take(112);
    free(ptr);
    *(uint64_t *)opaque(ptr) = 0x4141414141414141;
    opaque(malloc(112));
}

/* Behind the first blocks of the list: found when it is cut or drained. */
static void overwrite_in_list(void)
{
    static void *blocks[2000];
    for (unsigned i = 0; i < 2000; i++)
        blocks[i] = take(112);
    for (unsigned i = 0; i < 1000; i++)
        free(blocks[i]);
    *(uint64_t *)opaque(blocks[990]) = 0x4141414141414141;
    for (unsigned i = 1000; i < 2000; i++)
        free(blocks[i]);
    for (;;)
        churn();
}

static void *waiting[1000];

static void *allocate_and_free(void *unused)
{
    for (unsigned i = 0; i < 1000; i++)
        waiting[i] = take(48);
    for (unsigned i = 0; i < 1000; i++)
        free(waiting[i]);
    return unused;
}

/* The list waits where the thread left it. */
static void overwrite_waiting(unsigned idx)
{
    pthread_t thread;
    require(pthread_create(&thread, NULL, allocate_and_free, NULL) == 0, "pthread_create");
    require(pthread_join(thread, NULL) == 0, "pthread_join");
    *(uint64_t *)opaque(waiting[idx]) = 0x4141414141414141;
}

static void overwrite_then_cut(void)
{
    overwrite_waiting(995);
    for (unsigned i = 0; i < 20000; i++)
        take(48);
}

/* It is taken apart when it has grown old. */
static void overwrite_in_pool(void)
{
    overwrite_waiting(500);
    for (unsigned tries = 0; tries < 5000; tries++) {
        for (unsigned i = 0; i < 100; i++)
            free(take(64));
        sleep_us(1000);
    }
}

static void memory_goes_back(void)
{
    const unsigned count = 100000;
    void **blocks = own_memory(count * sizeof(*blocks));
    size_t before = rss_bytes();
    for (unsigned i = 0; i < count; i++)
        memset(blocks[i] = take(1000), 1, 1000);
    for (unsigned i = 0; i < count; i++)
        free(blocks[i]);
    for (unsigned tries = 0; rss_bytes() > before + 20 * MIB; tries++) {
        require(tries < 3000, "%.1f MiB stay of 100 MB that were freed", mib(rss_bytes() - before));
        for (unsigned i = 0; i < 100; i++)
            free(take(64));
        sleep_us(1000);
    }
}

static const struct {
    const char *name;
    void (*run)(void);
} bugs[] = {
    {"double_free", double_free},
    {"double_free_large", double_free_large},
    {"double_free_huge", double_free_huge},
    {"free_interior", free_interior},
    {"free_foreign", free_foreign},
    {"realloc_freed", realloc_freed},
    {"overwrite_then_take", overwrite_then_take},
    {"overwrite_in_list", overwrite_in_list},
    {"overwrite_then_cut", overwrite_then_cut},
    {"overwrite_in_pool", overwrite_in_pool},
};

static void (*find_bug(const char *name))(void)
{
    for (size_t i = 0; i < sizeof(bugs) / sizeof(bugs[0]); i++)
        if (strcmp(bugs[i].name, name) == 0)
            return bugs[i].run;
    fail("no such bug: %s", name);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = allocate_and_leave};
    require(argc == 3, "usage: after_misuse KIND ROUNDS");
    void (*bug)(void) = find_bug(argv[1]);
    int rounds = atoi(argv[2]);
    sigaction(SIGABRT, &action, NULL);
    alarm(60);
    for (volatile int round = 0; round < rounds; round++) {
        churn();
        if (sigsetjmp(before_the_bug, 1) == 0) {
            bug();
            fail("%s was not caught", argv[1]);
        }
    }
    churn();
    memory_goes_back();
    printf("survived %d\n", rounds);
    return 0;
}
