/* libearly.c - preloaded before the allocator, so relocated right after it: its resolver calls malloc when no constructor has
 * run, and its destructor frees what main allocated. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *from_resolver[32], *from_constructor[32];
static char *home;

static void fill(char **blocks)
{
    for (size_t i = 0; i < 32; i++) {
        size_t size = 1 + i * i * i * 5;
        blocks[i] = i % 2 == 0 ? malloc(size) : calloc(1, size);
        if (blocks[i] == NULL)
            _exit(91);
        memset(blocks[i], (int)i, size);
        if (i % 5 == 0 && (blocks[i] = realloc(blocks[i], size + 3000)) == NULL)
            _exit(92);
    }
}

static int check(char **blocks)
{
    for (size_t i = 0; i < 32; i++) {
        for (size_t at = 0; at < 1 + i * i * i * 5; at++)
            if (blocks[i][at] != (char)i)
                return 1;
        free(blocks[i]);
        blocks[i] = NULL;
    }
    return 0;
}

static int answer(void)
{
    return 0;
}

__attribute__((used)) static int (*resolve(void))(void)
{
    fill(from_resolver);
    home = getenv("HOME");
    return answer;
}

/* Static: the resolver then runs when all other relocations of this library are done. */
static __attribute__((ifunc("resolve"))) int early_indirect(void);

/* 0, or the number of the step that went wrong. */
int early_check(void)
{
    if (early_indirect() != 0 || from_resolver[0] == NULL || from_constructor[0] == NULL)
        return 1;
    int wrong = check(from_resolver) * 2 + check(from_constructor) * 4;
    fill(from_resolver);
    return wrong;
}

__attribute__((constructor)) static void start(void)
{
    fill(from_constructor);
}

__attribute__((destructor)) static void finish(void)
{
    if (from_resolver[0] != NULL && check(from_resolver) != 0)
        _exit(93);
}
