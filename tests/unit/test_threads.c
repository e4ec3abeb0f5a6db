/* test_threads.c - every family of entry points from several threads at once, which hand each other their blocks. Under TSan it
 * is a race that fails it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#define THREADS 4u
#define SLOTS 64u
#define TURNS 3000u

void *hk_test_malloc(size_t size);
void *hk_test_calloc(size_t count, size_t size);
void *hk_test_realloc(void *ptr, size_t size);
void *hk_test_aligned_alloc(size_t align, size_t size);
void *hk_test_valloc(size_t size);
void *hk_test_pvalloc(size_t size);
void *hk_test_mallocx(size_t size, int flags);
size_t hk_test_nallocx(size_t size, int flags);
size_t hk_test_malloc_usable_size(void *ptr);
void hk_test_free(void *ptr);
void hk_test_free_sized(void *ptr, size_t size);

struct block {
    unsigned char *ptr;
    size_t size;
    unsigned char tag;
    unsigned char sized; /* it may be freed by its size */
};

static struct block shared[SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static size_t any_size(uint64_t *random)
{
    static const size_t most[] = {100, 1000, 10000, 200000};
    return 1 + (next(random) >> 20) % most[(next(random) >> 20) % 4];
}

static struct block allocate(uint64_t *random)
{
    struct block block = {.size = any_size(random), .tag = (unsigned char)next(random)};
    switch ((next(random) >> 20) % 6) {
    case 0:
        block.ptr = hk_test_calloc(1, block.size);
        break;
    case 1:
        block.ptr = hk_test_aligned_alloc(256, block.size);
        break;
    case 2:
        block.ptr = hk_test_valloc(block.size);
        break;
    case 3:
        block.ptr = hk_test_pvalloc(block.size);
        break;
    case 4:
        block.ptr = hk_test_mallocx(block.size, 0);
        block.sized = hk_test_malloc_usable_size(block.ptr) == hk_test_nallocx(block.size, 0);
        break;
    default:
        block.ptr = hk_test_malloc(block.size);
        block.sized = 1;
    }
    memset(block.ptr, block.tag, block.size);
    return block;
}

static int is_whole(const struct block *block)
{
    return block->ptr[0] == block->tag && memcmp(block->ptr, block->ptr + 1, block->size - 1) == 0;
}

static int resize(struct block *block, uint64_t *random)
{
    size_t size = any_size(random);
    block->ptr = hk_test_realloc(block->ptr, size);
    if (block->size > size)
        block->size = size;
    int whole = is_whole(block);
    memset(block->ptr, block->tag, block->size = size);
    block->sized = 0;
    return whole;
}

static void swap(struct block *own, uint64_t *random)
{
    struct block *slot = &shared[(next(random) >> 20) % SLOTS];
    pthread_mutex_lock(&lock);
    struct block other = *slot;
    *slot = *own;
    pthread_mutex_unlock(&lock);
    *own = other;
}

static int end_block(struct block *block)
{
    int whole = block->ptr == NULL || is_whole(block);
    if (block->sized)
        hk_test_free_sized(block->ptr, block->size);
    else
        hk_test_free(block->ptr);
    return whole;
}

static void *exchange(void *arg)
{
    uint64_t random = (uintptr_t)arg;
    uintptr_t broken = 0;
    for (unsigned turn = 0; turn < TURNS; turn++) {
        struct block block = allocate(&random);
        if (turn % 4 == 0)
            broken += !resize(&block, &random);
        swap(&block, &random);
        broken += !end_block(&block);
    }
    return (void *)broken;
}

static void blocks_stay_whole_from_thread_to_thread(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, exchange, (void *)(i + 1)), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        void *broken;
        assert_int_equal(pthread_join(threads[i], &broken), 0);
        assert_null(broken);
    }
    for (unsigned i = 0; i < SLOTS; i++)
        assert_true(end_block(&shared[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_stay_whole_from_thread_to_thread),
    };
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
