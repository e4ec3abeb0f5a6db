/* leaks - a load whose memory is known: holds some, gives most back, in functions whose names the profile must tell. Built without frame
 * pointers, as distributions do.
 *
 *   leaks SECONDS     every ms: 1 block of 40,000 bytes that is kept by keep_for_ever() up to 4,000 of them, and 20 blocks of 2,000 bytes
 *                     that churn() frees 10 ms later; a thread does the latter too. Prints what is kept, in bytes, at the end.
 *   leaks grow      waits for a line, makes a block of 64 KiB and lets it grow to 256 MiB, 64 KiB at a time, and shrink to 128 MiB; "done"
 *   leaks burst       waits for a line, allocates and frees 1,000,000 blocks of 2,000 bytes as fast as it can, says so, and sleeps */
#include <pthread.h>

#include "../behaviour/check.h"

static bool over;

__attribute__((noinline)) static void *keep_for_ever(size_t size)
{
    char *block = malloc(size);
    require(block != NULL, "malloc");
    memset(block, 1, size);
    return opaque(block);
}

__attribute__((noinline)) static void churn(void **ring, unsigned turn)
{
    for (unsigned i = 0; i < 20; i++) {
        unsigned at = (turn * 20 + i) % 200;
        free(ring[at]);
        ring[at] = take(2000);
    }
}

__attribute__((noinline)) static void *work_beside(void *arg)
{
    void *ring[200] = {NULL};
    for (unsigned turn = 0; !__atomic_load_n(&over, __ATOMIC_RELAXED); turn++) {
        churn(ring, turn);
        sleep_us(1000);
    }
    for (unsigned i = 0; i < 200; i++)
        free(ring[i]);
    return arg;
}

static int burst(void)
{
    puts("ready");
    fflush(stdout);
    getchar();
    for (unsigned i = 0; i < 1000000; i++)
        free(take(2000));
    puts("done");
    fflush(stdout);
    sleep_us(30000000);
    return 0;
}

static int grow_on(void)
{
    puts("ready");
    fflush(stdout);
    getchar();
    char *block = take(65536);
    for (size_t size = 2 * 65536; size <= 256 * MIB; size += 65536)
        require((block = realloc(block, size)) != NULL, "realloc");
    for (size_t size = 256 * MIB; size >= 128 * MIB; size -= MIB)
        require((block = realloc(block, size)) != NULL, "realloc");
    puts("done");
    fflush(stdout);
    sleep_us(30000000);
    return *block;
}

int main(int argc, char **argv)
{
    static void *kept[4000];
    void *ring[200] = {NULL};
    pthread_t thread;
    size_t count = 0;
    require(argc == 2, "usage: leaks SECONDS|burst|grow");
    if (strcmp(argv[1], "grow") == 0)
        return grow_on();
    if (strcmp(argv[1], "burst") == 0)
        return burst();
    uint64_t end = now_ms() + strtoull(argv[1], NULL, 10) * 1000;
    require(pthread_create(&thread, NULL, work_beside, NULL) == 0, "pthread_create");
    puts("ready");
    fflush(stdout);
    for (unsigned turn = 0; now_ms() < end; turn++) {
        if (count < 4000)
            kept[count++] = keep_for_ever(40000);
        churn(ring, turn);
        sleep_us(1000);
    }
    printf("%zu\n", count * 40000);
    __atomic_store_n(&over, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    for (size_t i = 0; i < count; i++)
        require(*(char *)kept[i] == 1, "a block was overwritten");
    return 0;
}
