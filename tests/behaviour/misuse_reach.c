/* misuse_reach - how far the checks reach: free and realloc of blocks whose slab, run or mapping has gone back, and links of free
 * blocks that are forged with the right secret, which who reads a free block's two words can tell.
 *
 * usage: misuse_reach KIND SIZE     tells the address that is misused; each ends by SIGABRT, but `secret`, which tells that */
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include "check.h"

#define MOST 4000u

static size_t size;

static void *announce(void *ptr)
{
    char line[32]; /* stdio's buffer would be a block, perhaps where the one in question was */
    int length = snprintf(line, sizeof line, "%p\n", ptr);
    require(write(STDOUT_FILENO, line, (size_t)length) == length, "write");
    return opaque(ptr);
}

/* A block of some that were all freed, and whose memory the system has again. */
static void *gone(void)
{
    static void *blocks[MOST];
    unsigned count = size > 32 * KIB ? 8 : MOST;
    for (unsigned i = 0; i < count; i++)
        memset(blocks[i] = take(size), 1, size);
    size_t before = rss_bytes();
    void *ptr = blocks[count / 2];
    for (unsigned i = 0; i < count; i++)
        free(blocks[i]);
    malloc_trim(0);
    require(rss_bytes() + count * size / 2 < before || count * size < 2 * MIB, "the memory did not go back");
    return announce(ptr);
}

static void free_gone(void)
{
    free(gone());
}

static void realloc_gone(void)
{
    opaque(realloc(gone(), size * 2));
}

/* By which the two words of a free block differ. */
static uintptr_t secret_of(const uintptr_t *freed)
{
    return freed[0] ^ freed[1];
}

static void secret(void)
{
    uintptr_t *words = take(size);
    free(words);
    printf("%#lx\n", (unsigned long)secret_of(opaque(words)));
}

/* The first block of the list leads to `target`, which is no block of the class. */
static void forge(void *target)
{
    uintptr_t *words = take(size), *next = take(size);
    free(next);
    free(words);
    words = opaque(words);
    uintptr_t key = secret_of(words);
    require(words[1] == (uintptr_t)next && key >> 48 == 0xFF81, "a free block's words are not what they were");
    words[1] = (uintptr_t)announce(target);
    words[0] = (uintptr_t)target ^ key;
    for (unsigned i = 0; i < 3; i++)
        require(opaque(malloc(size)) != target, "no block was handed out");
}

static void forge_foreign(void)
{
    static char memory[256] __attribute__((aligned(64)));
    forge(memory);
}

static void forge_class(void)
{
    forge(memset(take(3 * size), 0, 16));
}

static void forge_inside(void)
{
    char *block = take(size);
    memset(block, 0, size);
    forge(block + 16);
}

static const struct {
    const char *name;
    void (*run)(void);
} kinds[] = {{"free_gone", free_gone},         {"realloc_gone", realloc_gone}, {"secret", secret},
             {"forge_foreign", forge_foreign}, {"forge_class", forge_class},   {"forge_inside", forge_inside}};

int main(int argc, char **argv)
{
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    size = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    for (size_t i = 0; argc == 3 && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, argv[1]) == 0) {
            kinds[i].run();
            return 0;
        }
    fail("usage: misuse_reach KIND SIZE");
}
