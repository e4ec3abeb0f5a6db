/* misuse_calls - every function that takes a block, given one that is free, the inside of one, and what never was one, of every tier:
 * each ends by SIGABRT, with the very line.
 *
 *   misuse_calls           all; names those that ended otherwise
 *   misuse_calls list      the table, as Markdown */
#include <dlfcn.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "check.h"

static const size_t sizes[] = {16, 48, 1000, 8 * KIB, 20000, 100 * KIB, 8 * MIB}; /* small, mid, large, huge */
#define SIZES (sizeof sizes / sizeof sizes[0])

enum bug { TWICE, INTERIOR, FOREIGN, WRONG_SIZE, BUGS };
static const char *const bug_names[BUGS] = {"free already", "its inside", "never allocated", "another class's size"};

/* Of functions that free, that free by size, and that resize or look: which line for which bug. NULL: no bug for them. */
enum sort { FREES, FREES_SIZED, RESIZES };
static const char *const lines[][BUGS] = {
    [FREES] = {"double free of", "free of an interior pointer", "free of a pointer that was never allocated,", NULL},
    [FREES_SIZED] = {"double free of", "free of an interior pointer", "free of a pointer that was never allocated,",
                     "sized free with the wrong size of"},
    [RESIZES] = {"realloc of a freed block", "free of an interior pointer",
                 "realloc of a pointer that was never allocated,", NULL},
};

/* name, symbol, sort, what it takes, call of f */
#define EACH_CALL(of)                                                                                                 \
    of("free", "free", FREES, (void *), f(ptr)) of("cfree", "cfree", FREES, (void *), f(ptr))                         \
        of("free_sized", "free_sized", FREES_SIZED, (void *, size_t),                                                 \
           f(ptr, size)) of("free_aligned_sized", "free_aligned_sized", FREES_SIZED, (void *, size_t, size_t),        \
                            f(ptr, 16, size)) of("realloc", "realloc", RESIZES, (void *, size_t), f(ptr, size * 3))   \
            of("realloc to 0", "realloc", FREES, (void *, size_t),                                                    \
               f(ptr, 0)) of("reallocarray", "reallocarray", RESIZES, (void *, size_t, size_t), f(ptr, size, 3))      \
                of("malloc_usable_size", "malloc_usable_size", RESIZES, (void *),                                     \
                   f(ptr)) of("operator delete", "_ZdlPv", FREES, (void *), f(ptr)) of("operator delete[]", "_ZdaPv", \
                                                                                       FREES, (void *), f(ptr))       \
                    of("sized operator delete", "_ZdlPvm", FREES_SIZED, (void *, size_t), f(ptr, size))               \
                        of("sized operator delete[]", "_ZdaPvm", FREES_SIZED, (void *, size_t), f(ptr, size))         \
                            of("aligned operator delete", "_ZdlPvSt11align_val_t", FREES, (void *, size_t),           \
                               f(ptr, 16)) of("aligned sized operator delete", "_ZdlPvmSt11align_val_t", FREES_SIZED, \
                                              (void *, size_t, size_t), f(ptr, size, 16))                             \
                                of("dallocx", "dallocx", FREES, (void *, int), f(ptr, 0))                             \
                                    of("sdallocx", "sdallocx", FREES_SIZED, (void *, size_t, int), f(ptr, size, 0))   \
                                        of("rallocx", "rallocx", RESIZES, (void *, size_t, int), f(ptr, size * 3, 0)) \
                                            of("xallocx", "xallocx", RESIZES, (void *, size_t, size_t, int),          \
                                               f(ptr, size, 0, 0))                                                    \
                                                of("sallocx", "sallocx", RESIZES, (void *, int), f(ptr, 0))

struct call {
    const char *name, *symbol;
    enum sort sort;
};
static const struct call calls[] = {
#define ENTRY(name, symbol, sort, takes, call) {name, symbol, sort},
    EACH_CALL(ENTRY)};
#define CALLS (sizeof calls / sizeof calls[0])

#define CALL(name, symbol, sort, takes, call)       \
    if (at++ == which) {                            \
        void *(*f)takes;                            \
        *(void **)&f = dlsym(RTLD_DEFAULT, symbol); \
        require(f != NULL, "no %s", symbol);        \
        call;                                       \
    }
static void call_it(size_t which, void *ptr, size_t size)
{
    size_t at = 0;
    EACH_CALL(CALL)
}

static _Noreturn void misuse(size_t which, enum bug bug, size_t size, int out)
{
    static char static_memory[64] __attribute__((aligned(64)));
    const struct rlimit no_core = {0, 0};
    void *block = take(size), *ptr = bug == INTERIOR ? (char *)block + 16 : bug == FOREIGN ? static_memory : block;
    size_t told[2] = {(size_t)ptr, malloc_usable_size(block)};
    setrlimit(RLIMIT_CORE, &no_core);
    alarm(20); /* one that hangs was not caught either */
    require(write(out, told, sizeof told) == sizeof told, "pipe");
    dup2(out, STDERR_FILENO);
    if (bug == TWICE)
        free(block);
    call_it(which, opaque(ptr), bug == WRONG_SIZE ? size * 2 + 100 : size);
    _exit(0);
}

/* Whether it ended as it must. */
static bool ends_right(size_t which, enum bug bug, size_t size)
{
    int out[2], status;
    size_t told[2] = {0, 0}, length = 0;
    char line[512] = "", wanted[256];
    require(pipe(out) == 0, "pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        misuse(which, bug, size, out[1]);
    close(out[1]);
    require(read(out[0], told, sizeof told) == sizeof told, "pipe");
    for (ssize_t got; length < sizeof line - 1 && (got = read(out[0], line + length, sizeof line - 1 - length)) > 0;)
        length += (size_t)got;
    close(out[0]);
    require(pid > 0 && waitpid(pid, &status, 0) == pid, "waitpid");
    int end = snprintf(wanted, sizeof wanted, "hakmem: %s 0x%zx", lines[calls[which].sort][bug], told[0]);
    if (bug == WRONG_SIZE ||
        (bug != FOREIGN && size <= 2 * MIB)) /* of a huge block that is no more nobody knows the size */
        end += snprintf(wanted + end, sizeof wanted - (size_t)end, " (%zu-byte block)", told[1]);
    snprintf(wanted + end, sizeof wanted - (size_t)end, "\n");
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strcmp(line, wanted) == 0)
        return true;
    fprintf(stderr, "%s, %s, %zu bytes: status %#x, '%.*s' instead of '%.*s'\n", calls[which].name, bug_names[bug],
            size, status, (int)strcspn(line, "\n"), line, (int)strcspn(wanted, "\n"), wanted);
    return false;
}

static void list(void)
{
    printf("| function | given a block that is free | the inside of one | what never was one | another class's size "
           "|\n|---|---|---|---|---|\n");
    for (size_t c = 0; c < CALLS; c++) {
        printf("| %s |", calls[c].name);
        for (unsigned bug = 0; bug < BUGS; bug++)
            printf(" %s |", lines[calls[c].sort][bug] != NULL ? lines[calls[c].sort][bug] : "");
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    unsigned ran = 0, wrong = 0;
    if (argc > 1 && strcmp(argv[1], "list") == 0) {
        list();
        return 0;
    }
    for (size_t c = 0; c < CALLS; c++) {
        for (unsigned bug = 0; bug < BUGS; bug++) {
            for (size_t s = 0; s < SIZES && lines[calls[c].sort][bug] != NULL; s++, ran++)
                if (bug != INTERIOR || sizes[s] > 16)
                    wrong += !ends_right(c, bug, sizes[s]);
        }
    }
    printf("%u of %u ended with their line\n", ran - wrong, ran);
    return wrong != 0;
}
