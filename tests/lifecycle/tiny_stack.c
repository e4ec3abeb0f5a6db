/* tiny_stack - everything that an allocator does, in threads with the smallest stack that the system allows. */
#include <limits.h>
#include <malloc.h>
#include <pthread.h>

#include "../behaviour/account_access.h"

static void *every_slow_path(void *arg)
{
    static const size_t sizes[] = {1, 24, 100, 1000, 4000, 9000, 30000, 40000, 200000, 1 << 20, 3 << 20};
    void *blocks[300];
    for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        unsigned count = sizes[s] < 10000 ? 300 : 8;
        for (unsigned i = 0; i < count; i++)
            *(char *)(blocks[i] = take(sizes[s])) = 1;
        for (unsigned i = 0; i < count; i += 2)
            require((blocks[i] = realloc(blocks[i], sizes[s] * 2)) != NULL, "realloc");
        for (unsigned i = 0; i < count; i++)
            free(blocks[i]);
    }
    void *aligned;
    require(posix_memalign(&aligned, 1 << 16, 100) == 0, "posix_memalign");
    free(aligned);
    free(calloc(100, 100));
    require(mallinfo2().uordblks > 0, "mallinfo2");
    struct hk_stats stats;
    require(process_stats(&stats, sizeof(stats)) == 0, "hk_stats");
    struct hk_class_stats one;
    require(class_stats(3, &one, sizeof(one)) == 0, "hk_class_stats");
    malloc_trim(0);
    errno = 0;
    require(malloc(PTRDIFF_MAX) == NULL && errno == ENOMEM, "malloc(PTRDIFF_MAX)");
    return arg;
}

int main(void)
{
    account_open();
    pthread_attr_t tiny;
    require(pthread_attr_init(&tiny) == 0 && pthread_attr_setstacksize(&tiny, (size_t)PTHREAD_STACK_MIN) == 0,
            "stack size");
    for (unsigned round = 0; round < 10; round++) {
        pthread_t threads[4];
        for (unsigned i = 0; i < 4; i++)
            require(pthread_create(&threads[i], &tiny, every_slow_path, NULL) == 0, "pthread_create");
        for (unsigned i = 0; i < 4; i++)
            require(pthread_join(threads[i], NULL) == 0, "pthread_join");
    }
    return 0;
}
