/* account - after known numbers of calls in threads that have ended, the totals are exact; at exit(3) they are too.
 *
 *   account THREADS ROUNDS
 *
 * What starting threads costs by itself is learnt first, with threads that make no calls of their own. */
#include <pthread.h>

#include "account_access.h"

static unsigned rounds;
static struct account base, before, after;

static const size_t extra_sizes[] = {40 * KIB, 500 * KIB, 2 * MIB, 5 * MIB}; /* beyond the caches */
#define EXTRA (sizeof(extra_sizes) / sizeof(extra_sizes[0]))
#define EXTRA_LEFT 2u

static unsigned extra_calls(unsigned i)
{
    return 8 + i;
}

/* How often a thread allocates from class c, and how many of these blocks it leaves. */
static unsigned calls_of(unsigned c)
{
    return rounds * (1 + c % 7);
}

static unsigned left_of(unsigned c)
{
    return c % 5;
}

static void use_class(size_t size, unsigned calls, unsigned leave)
{
    void *held[8] = {NULL};
    for (unsigned i = 0; i < calls; i++) {
        void **place = &held[i % 8];
        free(*place);
        *place = take(size);
        **(volatile char **)place = 1;
    }
    for (unsigned i = leave; i < 8; i++)
        free(held[i]);
}

static void *use_all(void *arg)
{
    unsigned classes = account_cached_classes(&base);
    for (unsigned c = 0; c < classes; c++)
        use_class(base.of[c].block_size, calls_of(c), left_of(c));
    for (unsigned i = 0; i < EXTRA; i++)
        use_class(extra_sizes[i], extra_calls(i), EXTRA_LEFT);
    return arg;
}

static void *use_none(void *arg)
{
    return arg;
}

static void run(unsigned threads, void *(*body)(void *))
{
    pthread_t started[64];
    for (unsigned i = 0; i < threads; i++)
        require(pthread_create(&started[i], NULL, body, NULL) == 0, "pthread_create");
    for (unsigned i = 0; i < threads; i++)
        pthread_join(started[i], NULL);
}

static void expect(unsigned c, const char *what, uint64_t got, uint64_t want)
{
    require(got == want, "class %u (%u bytes): %s is %llu, not %llu", c, base.of[c].block_size, what,
            (unsigned long long)got, (unsigned long long)want);
}

static void check_identities(const struct account *account)
{
    uint64_t allocs = 0, frees = 0, misses = 0;
    for (unsigned c = 0; c < account->classes; c++) {
        const struct hk_class_stats *s = &account->of[c];
        expect(c, "the number of live blocks", s->live_blocks, s->allocs - s->frees);
        require(s->misses <= s->allocs + s->alloc_fails, "class %u: %llu misses of %llu allocations", c,
                (unsigned long long)s->misses, (unsigned long long)s->allocs);
        require(s->refills_held <= s->refills && s->refills <= s->misses,
                "class %u: %llu refills, %llu held, %llu misses", c, (unsigned long long)s->refills,
                (unsigned long long)s->refills_held, (unsigned long long)s->misses);
        allocs += s->allocs;
        frees += s->frees;
        misses += s->misses;
    }
    struct hk_stats total;
    require(process_stats(&total, sizeof(total)) == 0, "hk_stats failed");
    require(total.allocs == allocs && total.frees == frees && total.misses == misses,
            "the process's totals aren't the sum of the classes'");
    require(total.mapped_bytes == total.live_bytes + total.free_bytes + total.meta_bytes,
            "mapped %llu, live %llu, free %llu, meta %llu", (unsigned long long)total.mapped_bytes,
            (unsigned long long)total.live_bytes, (unsigned long long)total.free_bytes,
            (unsigned long long)total.meta_bytes);
}

/* Blocks beyond the caches, in all: without a region their class isn't that of their size. */
static void check_extra(unsigned threads, const uint64_t *own_allocs, const uint64_t *own_frees)
{
    uint64_t allocs = 0, frees = 0, calls = 0, leave = 0;
    for (unsigned c = account_cached_classes(&base); c < after.classes; c++) {
        allocs += after.of[c].allocs - before.of[c].allocs - own_allocs[c];
        frees += after.of[c].frees - before.of[c].frees - own_frees[c];
    }
    for (unsigned i = 0; i < EXTRA; i++) {
        calls += threads * extra_calls(i);
        leave += threads * EXTRA_LEFT;
    }
    require(allocs == calls && frees == calls - leave,
            "beyond the caches %llu allocs and %llu frees, not %llu and %llu", (unsigned long long)allocs,
            (unsigned long long)frees, (unsigned long long)calls, (unsigned long long)(calls - leave));
}

/* libc flushes its streams after every destructor has run, the allocator's among them: what this sees is the end. */
static ssize_t at_the_very_end(void *cookie, const char *text, size_t length)
{
    static struct account last;
    (void)cookie;
    (void)text;
    account_read(&last);
    for (unsigned c = 0; c < last.classes; c++)
        if (last.of[c].block_size == 64) {
            expect(c, "allocs at exit", last.of[c].allocs - after.of[c].allocs, 1001);
            expect(c, "frees at exit", last.of[c].frees - after.of[c].frees, 1000);
        }
    check_identities(&last);
    static const char answer[] = "the account was exact at exit\n";
    return write(STDOUT_FILENO, answer, sizeof(answer) - 1) == (ssize_t)sizeof(answer) - 1 ? (ssize_t)length : -1;
}

int main(int argc, char **argv)
{
    require(argc == 3, "usage: account THREADS ROUNDS");
    unsigned threads = (unsigned)strtoul(argv[1], NULL, 10);
    rounds = (unsigned)strtoul(argv[2], NULL, 10);
    require(threads > 0 && threads <= 64 && rounds >= 8, "1..64 threads, 8 rounds at least");
    account_open();
    cookie_io_functions_t end = {NULL, at_the_very_end, NULL, NULL};
    FILE *last = fopencookie(NULL, "w", end);
    require(last != NULL && fputc('x', last) == 'x', "fopencookie");

    account_read(&base);
    run(threads, use_all); /* whatever libc keeps for its threads is there from now on */
    account_read(&before);
    run(threads, use_none);
    account_read(&after);
    unsigned classes = account_cached_classes(&base);
    uint64_t own_allocs[MAX_CLASSES], own_frees[MAX_CLASSES];
    for (unsigned c = 0; c < after.classes; c++) {
        own_allocs[c] = after.of[c].allocs - before.of[c].allocs;
        own_frees[c] = after.of[c].frees - before.of[c].frees;
    }

    account_read(&before);
    run(threads, use_all);
    account_read(&after);
    for (unsigned c = 0; c < classes; c++) {
        const struct hk_class_stats *then = &before.of[c], *now = &after.of[c];
        uint64_t calls = (uint64_t)threads * calls_of(c);
        expect(c, "allocs", now->allocs - then->allocs - own_allocs[c], calls);
        expect(c, "frees", now->frees - then->frees - own_frees[c], calls - (uint64_t)threads * left_of(c));
        require(now->misses - then->misses <= now->allocs - then->allocs, "class %u: more misses than allocations", c);
    }
    check_extra(threads, own_allocs, own_frees);
    check_identities(&after);
    puts("the account was exact when the threads had ended");
    fflush(stdout);

    account_read(&after);
    for (unsigned i = 0; i < 1001; i++) {
        void *ptr = take(64);
        if (i != 0)
            free(ptr);
    }
    return 0;
}
