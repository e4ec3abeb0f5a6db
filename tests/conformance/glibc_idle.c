/* glibc_idle.c - under hakmem no block comes from glibc, at any size and by any function: its own statistics stay 0. They
 * are asked of libc.so.6 itself, whose mallinfo2 knows nothing of a malloc that was loaded before it.
 * With the argument `busy` it checks the opposite: that glibc, when it serves, does say so. */
#include "check.h"

#include <locale.h>
#include <pthread.h>
#include <unistd.h>

static void use(void *block)
{
    CHECK(block != NULL, "errno %d", errno);
    fill(block, fn.malloc_usable_size(block), 1);
}

static void every_way(size_t size)
{
    void *block = NULL;
    use(block = fn.malloc(size));
    use(block = fn.realloc(block, size * 2 + 1));
    fn.free(block);
    use(block = fn.calloc(3, size));
    use(block = fn.reallocarray(block, size + 1, 2));
    fn.free(block);
    use(block = fn.aligned_alloc(64, size));
    fn.free(block);
    use(block = fn.memalign(4096, size));
    fn.free(block);
    CHECK(fn.posix_memalign(&block, 256, size) == 0, "%zu", size);
    use(block);
    fn.free(block);
    use(block = fn.valloc(size));
    fn.free(block);
    use(block = fn.pvalloc(size));
    fn.free(block);
    if (fn.mallocx == NULL || fn.reallocf == NULL)
        return;
    use(block = fn.mallocx(size, 7 | MALLOCX_ZERO));
    use(block = fn.rallocx(block, size + 100, 0));
    fn.dallocx(block, 0);
    use(block = fn.reallocf(NULL, size));
    fn.cfree(block);
}

/* What libc itself allocates for a program. */
static void libc_at_work(void)
{
    char *text = NULL, *copy = strdup("a string");
    CHECK(asprintf(&text, "%d %s", 42, copy) > 0, "asprintf");
    free(text);
    free(copy);
    char *folder = realpath("/", NULL), *here = getcwd(NULL, 0);
    free(folder);
    free(here);
    FILE *file = tmpfile();
    fprintf(file, "a line\n");
    rewind(file);
    char *line = NULL;
    size_t room = 0;
    CHECK(getline(&line, &room, file) == 7, "getline");
    free(line);
    fclose(file);
    setlocale(LC_ALL, "C.UTF-8");
}

static void *in_a_thread(void *unused)
{
    (void)unused;
    for (size_t size = 1; size < MIB; size *= 2)
        every_way(size);
    libc_at_work();
    return NULL;
}

int main(int argc, char **argv)
{
    static size_t sizes[MOST_SIZES];
    unsigned count = list_sizes(sizes, MOST_SIZES, 4 * MIB);
    pthread_t thread;
    find_functions();
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    struct mallinfo2 (*glibc_mallinfo2)(void) = libc != NULL ? (struct mallinfo2(*)(void))dlsym(libc, "mallinfo2")
                                                             : NULL;
    CHECK(glibc_mallinfo2 != NULL, "no mallinfo2 in libc.so.6");
    if (glibc_mallinfo2 == NULL)
        return check_result();
    void *kept = fn.malloc(1000), *kept_huge = fn.malloc(40 * MIB);
    for (unsigned i = 0; i < count; i++)
        every_way(sizes[i]);
    libc_at_work();
    pthread_create(&thread, NULL, in_a_thread, NULL);
    pthread_join(thread, NULL);
    struct mallinfo2 m = glibc_mallinfo2();
    if (argc > 1 && strcmp(argv[1], "busy") == 0) {
        CHECK(m.arena > 0 && m.uordblks > 0 && m.hblkhd > 0, "%zu, %zu, %zu", m.arena, m.uordblks, m.hblkhd);
    } else {
        CHECK(m.arena == 0 && m.uordblks == 0 && m.hblkhd == 0 && m.hblks == 0, "arena %zu, in use %zu, mapped %zu",
              m.arena, m.uordblks, m.hblkhd);
        CHECK(fn.mallinfo2().hblkhd >= 40 * MIB, "hakmem's own are %zu", fn.mallinfo2().hblkhd);
    }
    fn.free(kept);
    fn.free(kept_huge);
    return check_result();
}
