/* handover - blocks pass from the thread that allocates them to the thread that frees them, through rings. An operation is
 * a malloc or a free.
 *
 * Producers allocate, one consumer frees; with --both each of two threads allocates for the other and frees what it gets.
 * A ring is written and read a batch at a time, so that what is measured is the allocator and not the ring. */
#include "common.h"
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#define RING 4096u
#define BATCH 64u

static uint64_t blocks = 5000000, producers = 1, both;
static pthread_barrier_t start;

struct ring { /* one writer, one reader; each end on a line of its own */
    _Alignas(128) _Atomic uint64_t written;
    _Alignas(128) _Atomic uint64_t read;
    _Alignas(128) void *blocks[RING];
};

struct worker {
    struct ring *out; /* NULL: allocates nothing */
    struct ring *in;  /* the first of those that it reads */
    uint64_t rings_in, random;
    struct work work;
    pthread_t thread;
};

/* A batch into the ring, if it has room for one. */
static bool produce(struct worker *worker)
{
    struct ring *ring = worker->out;
    uint64_t at = atomic_load_explicit(&ring->written, memory_order_relaxed), random = worker->random;
    if (at == blocks || at + BATCH - atomic_load_explicit(&ring->read, memory_order_acquire) > RING)
        return false;
    uint64_t end = blocks - at < BATCH ? blocks : at + BATCH;
    for (; at < end; at++) {
        random = random_next(random);
        ring->blocks[at % RING] = take_block(&worker->work, random_size(random));
    }
    worker->random = random;
    atomic_store_explicit(&ring->written, end, memory_order_release);
    return true;
}

/* Frees what is in the ring, a batch at most; how many blocks that were. */
static uint64_t consume(struct ring *ring)
{
    uint64_t at = atomic_load_explicit(&ring->read, memory_order_relaxed);
    uint64_t count = atomic_load_explicit(&ring->written, memory_order_acquire) - at;
    count = count > BATCH ? BATCH : count;
    for (uint64_t i = 0; i < count; i++)
        free(ring->blocks[(at + i) % RING]);
    atomic_store_explicit(&ring->read, at + count, memory_order_release);
    return count;
}

static void *run(void *arg)
{
    struct worker *worker = arg;
    uint64_t freed = 0, to_free = worker->rings_in * blocks;
    pthread_barrier_wait(&start);
    worker->work.began = now();
    for (bool more = true; more;) {
        bool moved = worker->out != NULL && produce(worker);
        for (uint64_t r = 0; r < worker->rings_in; r++) {
            uint64_t count = consume(&worker->in[r]);
            freed += count;
            moved |= count != 0;
        }
        more = freed < to_free || (worker->out != NULL && worker->work.allocs < blocks);
        if (!moved)
            sched_yield();
    }
    worker->work.ended = now();
    worker->work.ops = worker->work.allocs + freed;
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct option_row options[] = {
        {"blocks", &blocks, 1, UINT64_MAX / 1024, "blocks that each producer allocates"},
        {"producers", &producers, 1, 255, "threads that allocate, for one that frees"},
        OPTIONS_OF_SIZE,
        OPTION_OF_SEED,
        {"both", &both, 0, 1, "two threads, each frees what the other made"},
    };
    read_options(argc, argv, options, sizeof(options) / sizeof(*options));
    uint64_t rings_count = both != 0 ? 2 : producers, workers_count = both != 0 ? 2 : producers + 1;
    struct ring *rings = own_pages(rings_count * sizeof(*rings));
    struct worker *workers = own_pages(workers_count * sizeof(*workers));
    pthread_barrier_init(&start, NULL, (unsigned)workers_count);
    for (uint64_t w = 0; w < workers_count; w++) {
        struct worker *worker = &workers[w];
        worker->random = random_seeded(seed * workers_count + w);
        worker->out = w < rings_count ? &rings[w] : NULL;
        worker->in = both != 0 ? &rings[1 - w] : rings;
        worker->rings_in = both != 0 ? 1 : w == producers ? rings_count : 0;
        worker->thread = start_thread(run, worker, NULL);
    }
    struct work total = {0};
    for (uint64_t w = 0; w < workers_count; w++) {
        pthread_join(workers[w].thread, NULL);
        add_work(&total, &workers[w].work);
    }
    answer(&total);
    return 0;
}
