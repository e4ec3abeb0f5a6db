/* early - calls before any constructor: from resolvers of indirect functions in this program and, where it is preloaded,
 * in libearly.so; from .preinit_array; from a constructor. All blocks are used and freed much later, in main. */
#include <sys/wait.h>

#include "../behaviour/account_access.h"

static void *blocks[3][64];

static void fill(unsigned row)
{
    for (unsigned i = 0; i < 64; i++) {
        size_t size = sizeof(struct marked) + (size_t)i * i * 97;
        mark(blocks[row][i] = take(size), size, row * 64 + i);
    }
    for (unsigned i = 0; i < 64; i += 3) {
        size_t size = check_marked(blocks[row][i], "early") * 2;
        blocks[row][i] = realloc(blocks[row][i], size);
        require(blocks[row][i] != NULL, "realloc");
        mark(blocks[row][i], size, row * 64 + i);
    }
    free(calloc(row + 1, 5000));
}

static int answer(void)
{
    return 42;
}

/* A resolver runs while the program's own relocations are not all done: it may use what is reached through the GOT. */
__attribute__((used)) static int (*resolve(void))(void)
{
    fill(0);
    return answer;
}

__attribute__((ifunc("resolve"))) int indirect(void);

static void preinit(void)
{
    fill(1);
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit_entry)(void) = preinit;

__attribute__((constructor(101))) static void constructor(void)
{
    fill(2);
}

/* The dynamic linker writes the main thread's TLS anew when all resolvers have run: nothing may remember what it was. */
static void count_in_fork(uint64_t parent_generation)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct hk_stats before, after;
        void *own[400];
        require(process_stats(&before, sizeof(before)) == 0 && before.generation != parent_generation, "hk_stats");
        for (size_t i = 0; i < 400; i++)
            own[i] = take(16 + i * 8);
        for (size_t i = 0; i < 400; i++)
            free(own[i]);
        require(process_stats(&after, sizeof(after)) == 0 && after.live_blocks == before.live_blocks,
                "a child lost count");
        exit(23);
    }
    int status;
    require(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 23,
            "a child failed");
}

int main(int argc, char **argv)
{
    require(indirect() == 42, "the indirect function");
    for (unsigned row = 0; row < 3; row++)
        for (unsigned i = 0; i < 64; i++) {
            require(blocks[row][i] != NULL, "no early calls in row %u", row);
            check_marked(blocks[row][i], "main");
            free(blocks[row][i]);
        }
    if (argc == 2 && strcmp(argv[1], "library") == 0) {
        int (*check)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "early_check");
        require(check != NULL, "libearly.so is not loaded");
        require(check() == 0, "libearly.so: step %d", check());
    }
    account_open();
    struct hk_stats stats;
    require(process_stats(&stats, sizeof(stats)) == 0 && stats.frees >= 3 * 64, "%llu frees",
            (unsigned long long)stats.frees);
    require(stats.threads == 1, "%llu threads have a cache", (unsigned long long)stats.threads);
    count_in_fork(stats.generation);
    return 0;
}
