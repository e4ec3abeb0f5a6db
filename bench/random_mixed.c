/* random_mixed - each step picks a slot at random: frees its block if it holds one, else allocates one of a random size
 * and writes its first byte, or one byte every --stride. Slots belong to one thread each. `--help` lists the options. */
#include "common.h"
#include <stdbool.h>
#include <string.h>

static uint64_t ops = 10000000, ws = 8192, threads = 1, stride, align, zeroed, null;

enum how { BY_MALLOC, BY_CALLOC, BY_MEMALIGN, BY_NOTHING };

static char nothing[64];
static pthread_barrier_t start;

struct worker {
    pthread_t thread;
    void **slots;
    uint64_t random;
    struct work work;
};

static inline __attribute__((always_inline)) char *take(enum how how, size_t size)
{
    void *block = NULL;
    switch (how) {
    case BY_MALLOC:
        block = malloc(size);
        break;
    case BY_CALLOC:
        block = calloc(1, size);
        break;
    case BY_MEMALIGN:
        if (posix_memalign(&block, align, size) != 0 || (uintptr_t)block % align != 0)
            die("posix_memalign failed");
        break;
    case BY_NOTHING:
        return nothing;
    }
    if (block == NULL)
        die("out of memory");
    return block;
}

static inline __attribute__((always_inline)) void run_loop(struct worker *worker, enum how how, bool by_stride)
{
    void **slots = worker->slots;
    uint64_t random = worker->random, allocs = 0, bytes = 0, lo = size_lo, span = size_hi - lo + 1, count = ws;
    for (uint64_t i = ops; i != 0; i--) {
        random = random_next(random);
        void **slot = &slots[random_high(random, count)];
        if (*slot != NULL) {
            if (how != BY_NOTHING)
                free(*slot);
            *slot = NULL;
            continue;
        }
        size_t size = lo + random_low(random, span);
        char *block = take(how, size);
        if (how == BY_CALLOC && (block[0] != 0 || block[size / 2] != 0 || block[size - 1] != 0))
            die("calloc gave memory that is not zero");
        *(volatile char *)block = 1;
        if (by_stride)
            for (size_t at = stride; at < size; at += stride)
                *(volatile char *)(block + at) = 1;
        if (how == BY_CALLOC)
            block[size / 2] = block[size - 1] = 1;
        *slot = block;
        allocs++;
        bytes += size;
    }
    worker->work.ops = ops;
    worker->work.allocs = allocs;
    worker->work.bytes = bytes;
}

static void *run(void *arg)
{
    struct worker *worker = arg;
    pthread_barrier_wait(&start);
    worker->work.began = now();
    if (null != 0)
        run_loop(worker, BY_NOTHING, false);
    else if (zeroed != 0)
        run_loop(worker, BY_CALLOC, false);
    else if (align != 0)
        run_loop(worker, BY_MEMALIGN, false);
    else if (stride != 0)
        run_loop(worker, BY_MALLOC, true);
    else
        run_loop(worker, BY_MALLOC, false);
    worker->work.ended = now();
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct option_row options[] = {
        {"ops", &ops, 1, UINT64_MAX, "steps of each thread"},
        {"ws", &ws, 1, UINT32_MAX, "slots of each thread"},
        OPTIONS_OF_SIZE,
        {"threads", &threads, 1, 1024, "threads at once"},
        OPTION_OF_SEED,
        {"stride", &stride, 0, UINT32_MAX, "write a byte every so many; 0: the first alone"},
        {"align", &align, 0, 1 << 20, "by posix_memalign, to so many bytes"},
        {"zeroed", &zeroed, 0, 1, "by calloc"},
        {"null", &null, 0, 1, "the same loop without an allocator"},
    };
    read_options(argc, argv, options, sizeof(options) / sizeof(*options));
    size_t slot_bytes = ws * sizeof(void *);
    struct worker *workers = own_pages(threads * (sizeof(struct worker) + slot_bytes));
    pthread_barrier_init(&start, NULL, (unsigned)threads);
    for (uint64_t t = 0; t < threads; t++) {
        workers[t].slots = (void **)(void *)((char *)(workers + threads) + t * slot_bytes);
        workers[t].random = random_seeded(seed * threads + t);
        workers[t].thread = start_thread(run, &workers[t], NULL);
    }
    struct work total = {0};
    for (uint64_t t = 0; t < threads; t++) {
        pthread_join(workers[t].thread, NULL);
        add_work(&total, &workers[t].work);
    }
    answer(&total);
    return 0;
}
