/* threads - many threads on few processors, blocks freed by others than their makers, each checked to the last byte.
 *
 *   threads exchange THREADS ROUNDS           every thread puts blocks where others find them, and frees what it finds
 *   threads pipe THREADS ROUNDS MAX_MIB       half of them only allocate, half only free; bounded queue, bounded RSS
 *   threads outlive THREADS GENERATIONS       a generation of threads leaves blocks, the next checks and frees them  */
#include <pthread.h>
#include <signal.h>

#include "check.h"

#define PLACES 4096u
#define MAX_THREADS 256u
#define LEFT_BY_EACH 500u

static unsigned threads, rounds;
static void *places[PLACES]; /* exchange: a block or NULL, swapped atomically */

/* The same few classes for all threads, now and then a larger block. */
static size_t next_size(uint64_t *random)
{
    uint64_t pick = random_next(random) >> 20 & 255;
    if (pick == 0)
        return random_between(random, 33 * KIB, 200 * KIB);
    if (pick < 8)
        return random_between(random, 2 * KIB, 32 * KIB);
    return random_between(random, 16, 300);
}

static void *make_block(uint64_t *random)
{
    size_t size = next_size(random);
    void *ptr = take(size);
    mark(ptr, size, (uint32_t)random_next(random));
    return ptr;
}

static void end_block(void *ptr, const char *whose)
{
    if (ptr == NULL)
        return;
    check_marked(ptr, whose);
    free(ptr);
}

static uint64_t seed_of(const void *arg)
{
    return ((uintptr_t)arg + 1) * 0x9e3779b97f4a7c15u;
}

static volatile sig_atomic_t told_to_end;

static void end(int signal)
{
    told_to_end = signal;
}

static void *exchange(void *arg)
{
    uint64_t random = seed_of(arg);
    void *own[16] = {NULL};
    for (unsigned i = 0; i < rounds && !told_to_end; i++) {
        void **mine = &own[random_next(&random) >> 30 & 15];
        end_block(*mine, "exchange, own");
        *mine = make_block(&random);
        void *ptr = make_block(&random);
        end_block(__atomic_exchange_n(&places[random_next(&random) >> 30 & (PLACES - 1)], ptr, __ATOMIC_ACQ_REL),
                  "exchange, another's");
    }
    for (size_t i = 0; i < 16; i++)
        end_block(own[i], "exchange, own");
    return NULL;
}

static struct {
    pthread_mutex_t lock;
    pthread_cond_t filled, emptied;
    unsigned first, count, producers;
    void *blocks[PLACES];
} ring = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, {NULL}};

static void *produce(void *arg)
{
    uint64_t random = seed_of(arg);
    void *batch[32];
    for (unsigned i = 0; i < rounds; i += 32) {
        for (unsigned b = 0; b < 32; b++)
            batch[b] = make_block(&random);
        pthread_mutex_lock(&ring.lock);
        while (ring.count + 32 > PLACES)
            pthread_cond_wait(&ring.emptied, &ring.lock);
        for (unsigned b = 0; b < 32; b++)
            ring.blocks[(ring.first + ring.count++) % PLACES] = batch[b];
        pthread_cond_signal(&ring.filled);
        pthread_mutex_unlock(&ring.lock);
    }
    pthread_mutex_lock(&ring.lock);
    ring.producers--;
    pthread_cond_broadcast(&ring.filled);
    pthread_mutex_unlock(&ring.lock);
    return NULL;
}

static void *consume(void *arg)
{
    (void)arg;
    for (;;) {
        void *batch[32];
        unsigned n = 0;
        pthread_mutex_lock(&ring.lock);
        while (ring.count == 0 && ring.producers != 0)
            pthread_cond_wait(&ring.filled, &ring.lock);
        for (; n < 32 && ring.count != 0; n++, ring.count--, ring.first = (ring.first + 1) % PLACES)
            batch[n] = ring.blocks[ring.first];
        pthread_cond_signal(&ring.emptied);
        pthread_mutex_unlock(&ring.lock);
        if (n == 0)
            return NULL;
        for (unsigned b = 0; b < n; b++)
            end_block(batch[b], "pipe");
    }
}

static void *left[MAX_THREADS][LEFT_BY_EACH];

/* Ends what the thread of this place left in the generation before; leaves blocks of its own, some of them resized. */
static void *outlive(void *arg)
{
    uint64_t random = seed_of(arg) ^ rounds * 77u;
    void **mine = left[(uintptr_t)arg];
    for (unsigned i = 0; i < LEFT_BY_EACH; i++) {
        end_block(mine[i], "outlive");
        mine[i] = make_block(&random);
        if (i % 8 == 0) {
            size_t size = check_marked(mine[i], "outlive, before realloc") * 2;
            mine[i] = opaque(realloc(mine[i], size));
            require(mine[i] != NULL, "realloc to %zu failed", size);
            mark(mine[i], size, i);
        }
    }
    return NULL;
}

/* Starts threads in pairs of `even` and `odd`, and waits for all. */
static void run(void *(*even)(void *), void *(*odd)(void *))
{
    pthread_t started[MAX_THREADS];
    for (uintptr_t i = 0; i < threads; i++)
        require(pthread_create(&started[i], NULL, i % 2 == 0 ? even : odd, (void *)i) == 0, "pthread_create");
    for (unsigned i = 0; i < threads; i++)
        require(pthread_join(started[i], NULL) == 0, "pthread_join");
}

int main(int argc, char **argv)
{
    require(argc >= 4, "usage: threads exchange|pipe|outlive THREADS ROUNDS [MAX_MIB]");
    threads = (unsigned)strtoul(argv[2], NULL, 10);
    rounds = (unsigned)strtoul(argv[3], NULL, 10);
    require(threads >= 2 && threads <= MAX_THREADS, "2..%u threads", MAX_THREADS);

    if (strcmp(argv[1], "exchange") == 0) {
        signal(SIGTERM, end);
        run(exchange, exchange);
        for (size_t i = 0; i < PLACES; i++)
            end_block(places[i], "exchange, at the end");
    } else if (strcmp(argv[1], "pipe") == 0) {
        ring.producers = (threads + 1) / 2;
        run(produce, consume);
        require(ring.count == 0, "%u blocks were never consumed", ring.count);
        require(argc < 5 || rss_bytes() < strtoull(argv[4], NULL, 10) * MIB,
                "%.1f MiB are resident, at most %s are allowed", mib(rss_bytes()), argv[4]);
    } else if (strcmp(argv[1], "outlive") == 0) {
        for (; rounds > 0; rounds--)
            run(outlive, outlive);
        for (unsigned t = 0; t < threads; t++)
            for (unsigned i = 0; i < LEFT_BY_EACH; i++)
                end_block(left[t][i], "outlive, at the end");
    } else {
        fail("no such load: %s", argv[1]);
    }
    printf("%s: %.1f MiB are resident at the end\n", argv[1], mib(rss_bytes()));
    return 0;
}
