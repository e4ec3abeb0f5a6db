/* misuse - programs with one bug each; every one must end by SIGABRT with one line that says what and where.
 *
 *   misuse                 runs all of them, each in a process of its own, and names those that were not caught
 *   misuse list            the kinds
 *   misuse KIND            those of one kind
 *   misuse KIND SIZE       is the program with the bug
 *
 * With MISUSE_HOT=1 the bug comes after a hundred thousand calls of the same size, and _exit(2) right behind it: nothing that a
 * later call or exit(3) finds is in time.
 * The program prints the address that it is going to misuse before, so that the line can be compared with it. */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "check.h"

static const size_t sizes[] = {24, 200, 1000, 16 * KIB, 200 * KIB, 8 * MIB};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void free_sized_of(void *ptr, size_t size);
static char static_memory[256] __attribute__((aligned(64)));

static void *block_of(size_t size)
{
    unsigned char *ptr = take(size);
    memset(ptr, 0x77, size < KIB ? size : KIB);
    return ptr;
}

/* Says which address is misused next: a line that must arrive. */
static void *announce(void *ptr)
{
    printf("about to misuse 0x%lx\n", (unsigned long)(uintptr_t)ptr);
    fflush(stdout);
    return opaque(ptr);
}

static void double_free(size_t size)
{
    void *ptr = announce(block_of(size));
    free(ptr);
    free(opaque(ptr));
}

static void double_free_after_another(size_t size)
{
    void *other = block_of(size), *ptr = announce(block_of(size));
    free(ptr);
    free(other);
    free(opaque(ptr));
}

static void double_free_after_100(size_t size)
{
    void *others[100];
    for (int i = 0; i < 100; i++)
        others[i] = block_of(size);
    void *ptr = announce(block_of(size));
    free(ptr);
    for (int i = 0; i < 100; i++)
        free(others[i]);
    free(opaque(ptr));
}

static void *free_in_thread(void *ptr)
{
    free(ptr);
    return NULL;
}

static void double_free_in_thread(size_t size)
{
    void *ptr = announce(block_of(size));
    pthread_t thread;
    free(ptr);
    require(pthread_create(&thread, NULL, free_in_thread, opaque(ptr)) == 0, "pthread_create");
    pthread_join(thread, NULL);
}

/* The block lies where the thread that has ended left it. */
static void double_free_after_thread(size_t size)
{
    void *ptr = announce(block_of(size));
    pthread_t thread;
    require(pthread_create(&thread, NULL, free_in_thread, ptr) == 0 && pthread_join(thread, NULL) == 0, "no thread");
    free(opaque(ptr));
}

static void free_interior_16(size_t size)
{
    free(announce((char *)block_of(size) + 16));
}

static void free_interior_8(size_t size)
{
    free(announce((char *)block_of(size) + 8));
}

static void free_interior_1(size_t size)
{
    free(announce((char *)block_of(size) + 1));
}

static void free_interior_half(size_t size)
{
    free(announce((char *)block_of(size) + size / 2));
}

/* At a multiple of the page: where a large block's inside looks most like a block. */
static void free_interior_page(size_t size)
{
    size_t inside = size < 8 * KIB ? 16 : size / 2 / (4 * KIB) * (4 * KIB);
    free(announce((char *)block_of(size) + inside));
}

static void free_static(size_t size)
{
    free(announce(static_memory + size % 64 / 16 * 16));
}

static void free_stack(size_t size)
{
    char on_stack[512] __attribute__((aligned(64)));
    memset(on_stack, (int)size, sizeof(on_stack));
    free(announce(on_stack + size % 64 / 16 * 16));
}

static void free_mapped(size_t size)
{
    free(announce(own_memory(size)));
}

static void free_low(size_t size)
{
    block_of(size);
    free(announce((void *)0x10));
}

static void free_wild(size_t size)
{
    block_of(size);
    free(announce((void *)0xdeadbeef000));
}

static void free_high(size_t size)
{
    block_of(size);
    free(announce((void *)-(intptr_t)16));
}

static void free_non_canonical(size_t size)
{
    block_of(size);
    free(announce((void *)0x7777777777777770));
}

static void realloc_freed(size_t size)
{
    void *ptr = announce(block_of(size));
    free(ptr);
    opaque(realloc(opaque(ptr), size * 2));
}

static void realloc_interior(size_t size)
{
    opaque(realloc(announce((char *)block_of(size) + 16), size * 2));
}

static void realloc_wild(size_t size)
{
    opaque(realloc(announce((void *)0xdeadbeef000), size));
}

static void free_sized_wrong(size_t size)
{
    free_sized_of(announce(block_of(size)), size * 4 + 100);
}

static void free_sized_twice(size_t size)
{
    void *ptr = announce(block_of(size));
    free_sized_of(ptr, size);
    free_sized_of(opaque(ptr), size);
}

/* Nobody uses the list at once: it is found when the list is cut or drained, at the latest at exit. */
static void overwrite_free_list(size_t size)
{
    static void *blocks[400];
    if (size > 16 * KIB) /* larger blocks are in no list of the program's memory */
        size = 16 * KIB;
    for (unsigned i = 0; i < 400; i++)
        blocks[i] = block_of(size);
    for (unsigned i = 0; i < 200; i++)
        free(blocks[i]);
    *(uint64_t *)announce(blocks[199]) = 0x4141414141414141;
    for (unsigned i = 200; i < 400; i++)
        free(blocks[i]);
}

/* The first block of the list is the one that was written to: it is not handed out, nor is its link followed. */
static void overwrite_and_take(size_t size, size_t offset, int byte, size_t count)
{
    if (size > 16 * KIB)
        size = 16 * KIB;
    char *ptr = block_of(size);
    free(ptr);
    memset(announce(ptr) + offset, byte, count);
    opaque(malloc(size));
}

static void overwrite_then_take(size_t size)
{
    overwrite_and_take(size, 0, 0x41, 8);
}

static void overwrite_int_then_take(size_t size)
{
    overwrite_and_take(size, 0, 0, sizeof(int));
}

static void overwrite_byte_then_take(size_t size)
{
    char *ptr = block_of(size > 16 * KIB ? 16 * KIB : size);
    free(ptr);
    ((char *)announce(ptr))[1] ^= 0x10;
    opaque(malloc(size > 16 * KIB ? 16 * KIB : size));
}

static void overwrite_second_word_then_take(size_t size)
{
    overwrite_and_take(size, 8, 0x41, 8);
}

static void zero_then_take(size_t size)
{
    overwrite_and_take(size, 0, 0, 16);
}

/* So many calls that lists and counters are those of a program that has long been at work. */
static void warm(size_t size)
{
    static void *blocks[256];
    for (unsigned round = 0; round < 400; round++) {
        for (unsigned i = 0; i < 256; i++)
            blocks[i] = take(size);
        for (unsigned i = 0; i < 256; i++)
            free(blocks[i]);
    }
}

static void free_sized_of(void *ptr, size_t size)
{
    void (*sized)(void *, size_t);
    *(void **)&sized = dlsym(RTLD_DEFAULT, "free_sized");
    require(sized != NULL, "no free_sized: the program doesn't run on hakmem");
    sized(ptr, size);
}

#define DOUBLE "double free of"
#define INTERIOR "free of an interior pointer"
#define NEVER "free of a pointer that was never allocated,"
#define REALLOC_FREED "realloc of a freed block"
#define REALLOC_NEVER "realloc of a pointer that was never allocated,"
#define SIZED "sized free with the wrong size of"
#define CORRUPT "corrupted free list at"

/* What the line must say; `or_else` where the memory may have gone back to the system meanwhile. */
static const struct kind {
    const char *name;
    void (*run)(size_t size);
    const char *says, *or_else;
} kinds[] = {
    {"double_free", double_free, DOUBLE, NULL},
    {"double_free_after_another", double_free_after_another, DOUBLE, NEVER},
    {"double_free_after_100", double_free_after_100, DOUBLE, NEVER},
    {"double_free_in_thread", double_free_in_thread, DOUBLE, NEVER},
    {"double_free_after_thread", double_free_after_thread, DOUBLE, NEVER},
    {"free_interior_16", free_interior_16, INTERIOR, NULL},
    {"free_interior_8", free_interior_8, INTERIOR, NULL},
    {"free_interior_1", free_interior_1, INTERIOR, NULL},
    {"free_interior_half", free_interior_half, INTERIOR, NULL},
    {"free_interior_page", free_interior_page, INTERIOR, NULL},
    {"free_static", free_static, NEVER, NULL},
    {"free_stack", free_stack, NEVER, NULL},
    {"free_mapped", free_mapped, NEVER, NULL},
    {"free_low", free_low, NEVER, NULL},
    {"free_wild", free_wild, NEVER, NULL},
    {"free_high", free_high, NEVER, NULL},
    {"free_non_canonical", free_non_canonical, NEVER, NULL},
    {"realloc_freed", realloc_freed, REALLOC_FREED, NULL},
    {"realloc_interior", realloc_interior, "interior pointer", REALLOC_NEVER},
    {"realloc_wild", realloc_wild, REALLOC_NEVER, NULL},
    {"free_sized_wrong", free_sized_wrong, SIZED, NULL},
    {"free_sized_twice", free_sized_twice, DOUBLE, NULL},
    {"overwrite_free_list", overwrite_free_list, CORRUPT, NULL},
    {"overwrite_then_take", overwrite_then_take, CORRUPT, NULL},
    {"overwrite_int_then_take", overwrite_int_then_take, CORRUPT, NULL},
    {"overwrite_byte_then_take", overwrite_byte_then_take, CORRUPT, NULL},
    {"overwrite_second_word_then_take", overwrite_second_word_then_take, CORRUPT, NULL},
    {"zero_then_take", zero_then_take, CORRUPT, NULL},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static size_t read_all(int fd, char *text, size_t size)
{
    size_t length = 0;
    ssize_t got;
    while ((got = read(fd, text + length, size - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = '\0';
    return length;
}

struct outcome {
    int status;
    char out[512], err[2048];
};

static void run_program(const char *self, const struct kind *kind, size_t size, struct outcome *outcome)
{
    int out[2], err[2];
    char size_text[24];
    snprintf(size_text, sizeof(size_text), "%zu", size);
    require(pipe(out) == 0 && pipe(err) == 0, "pipe");
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        alarm(20); /* one that hangs was not caught either */
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        close(out[0]);
        close(err[0]);
        execl(self, self, kind->name, size_text, (char *)NULL);
        _exit(127);
    }
    require(pid > 0, "fork");
    close(out[1]);
    close(err[1]);
    read_all(out[0], outcome->out, sizeof(outcome->out));
    read_all(err[0], outcome->err, sizeof(outcome->err));
    close(out[0]);
    close(err[0]);
    require(waitpid(pid, &outcome->status, 0) == pid, "waitpid");
}

/* NULL, or what is wrong. */
static const char *judge(const struct kind *kind, const struct outcome *outcome)
{
    const char *line = outcome->err, *address = strstr(outcome->out, "0x");
    if (!WIFSIGNALED(outcome->status))
        return "it was not stopped";
    if (WTERMSIG(outcome->status) != SIGABRT)
        return "another signal than SIGABRT";
    if (strncmp(outcome->out, "about to misuse 0x", 18) != 0 || strchr(outcome->out, '\n')[1] != '\0')
        return "standard output is not what the program wrote";
    if (strncmp(line, "hakmem: ", 8) != 0)
        return "no line of hakmem";
    if (strchr(line, '\n') == NULL || strchr(line, '\n')[1] != '\0')
        return "not exactly one line";
    if (strstr(line, kind->says) == NULL && (kind->or_else == NULL || strstr(line, kind->or_else) == NULL))
        return "the line says something else";
    size_t length = strcspn(address, "\n");
    const char *named = line;
    while ((named = strstr(named, "0x")) != NULL &&
           (strncmp(named, address, length) != 0 || strchr(" \n", named[length]) == NULL))
        named++;
    return named == NULL ? "the line names another address" : NULL;
}

static unsigned run_kind(const char *self, const struct kind *kind)
{
    unsigned missed = 0;
    static struct outcome outcome;
    for (size_t i = 0; i < SIZES; i++) {
        run_program(self, kind, sizes[i], &outcome);
        const char *wrong = judge(kind, &outcome);
        if (wrong == NULL)
            continue;
        missed++;
        outcome.err[strcspn(outcome.err, "\n")] = '\0';
        outcome.out[strcspn(outcome.out, "\n")] = '\0';
        fprintf(stderr, "NOT CAUGHT %s %zu: %s (status %#x; '%s'; '%s')\n", kind->name, sizes[i], wrong, outcome.status,
                outcome.err, outcome.out);
    }
    return missed;
}

int main(int argc, char **argv)
{
    unsigned ran = 0, missed = 0;
    for (size_t k = 0; k < KINDS; k++) {
        if (argc > 1 && strcmp(argv[1], "list") == 0) {
            puts(kinds[k].name);
            continue;
        }
        if (argc > 1 && strcmp(argv[1], kinds[k].name) != 0)
            continue;
        if (argc > 2) {
            size_t size = strtoull(argv[2], NULL, 10);
            bool hot = getenv("MISUSE_HOT") != NULL;
            if (hot && size <= 32 * KIB)
                warm(size);
            kinds[k].run(size);
            if (hot)
                _exit(0);
            return 0;
        }
        missed += run_kind(argv[0], &kinds[k]);
        ran += SIZES;
    }
    if (argc > 1 && strcmp(argv[1], "list") == 0)
        return 0;
    require(ran != 0, "no such kind: %s", argc > 1 ? argv[1] : "");
    printf("%u of %u programs were stopped by SIGABRT with their line\n", ran - missed, ran);
    return missed == 0 ? 0 : 1;
}
