/* model - random programs of allocator calls against a model that knows what every block must hold.
 *
 * usage: model [--seed N] [--programs N] [--steps N] [--threads N] [--seconds N] [--spoil N]
 *
 * A program is a row of steps, made from its seed; it runs in a child, which checks every byte of every block before it gives it back
 * and at the end, alignment, usable sizes, and that blocks don't overlap. A program that fails is shrunk to the fewest steps that still
 * fail, and those are printed with the seed; exit status 1. With --threads programs run in so many threads at once, which swap blocks
 * by a table; those are replayed by their seed, but not shrunk. --seconds ends the programs after so long; else so many run. */
#include <getopt.h>

#include "steps.h"

#define MOST_STEPS 20000u

/* ---- programs ---- */

/* Most sizes are small; some lie about the borders of classes and tiers. */
static uint32_t random_size(uint64_t *random)
{
    static const uint32_t borders[] = {0, 16, 32, 256, 1024, 8192, 32768, 65536, 2 << 20, 4 << 20};
    uint32_t pick = (uint32_t)(random_next(random) >> 40) % 100;
    if (pick < 70)
        return (uint32_t)random_between(random, 0, 1100);
    if (pick < 88)
        return (uint32_t)random_between(random, 0, 40000);
    if (pick < 91)
        return (uint32_t)random_between(random, 0, 600000);
    uint32_t border = borders[random_next(random) % 10], off = (uint32_t)random_between(random, 0, 4);
    return border + off >= 2 ? border + off - 2 : off;
}

static void make_program(struct step *steps, unsigned count, uint64_t seed)
{
    static const uint8_t often[] = {MALLOC,
                                    MALLOC,
                                    MALLOC,
                                    CALLOC,
                                    CALLOC,
                                    REALLOC,
                                    REALLOC,
                                    REALLOCARRAY,
                                    REALLOCF,
                                    FREE,
                                    FREE,
                                    FREE,
                                    FREE,
                                    FREE_SIZED,
                                    FREE_SIZED,
                                    FREE_SIZED,
                                    ALIGNED_ALLOC,
                                    MEMALIGN,
                                    POSIX_MEMALIGN,
                                    MALLOCX,
                                    MALLOCX_ZERO,
                                    RALLOCX,
                                    RALLOCX_ZERO,
                                    XALLOCX,
                                    NEW,
                                    NEW_NOTHROW,
                                    NEW_ALIGNED,
                                    NEW_ARRAY,
                                    NEW_ARRAY_ALIGNED,
                                    USABLE,
                                    SWAP,
                                    SWAP};
    uint64_t random = seed * 0x9e3779b97f4a7c15u + 1;
    for (unsigned i = 0; i < count; i++) {
        uint32_t pick = (uint32_t)(random_next(&random) >> 33) % 1000;
        uint8_t call = pick < 2    ? TRIM
                       : pick < 8  ? CHECK
                       : pick == 8 ? FORK
                       : pick < 12 ? VALLOC
                       : pick < 15 ? PVALLOC
                       : pick < 20 ? TELL
                       : pick < 30 ? REALLOC_TO_0
                                   : often[pick % sizeof often];
        steps[i] = (struct step){call, (uint8_t)(random_next(&random) >> 20),
                                 (uint8_t)(4 + (random_next(&random) >> 30) % 12), random_size(&random)};
    }
}

struct job {
    struct step *steps;
    unsigned count;
};

static void *run_job(void *arg)
{
    const struct job *job = arg;
    run_program(job->steps, job->count);
    return NULL;
}

static unsigned long spoil; /* which invariant is broken at the end of each program: for the test of the test */

/* How it ended in a child of its own. */
static int outcome(struct step *steps, unsigned count, unsigned threads, bool quiet)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (quiet)
            close(STDERR_FILENO);
        pthread_t ids[64];
        struct job jobs[64];
        for (unsigned t = 1; t < threads; t++) {
            jobs[t] = (struct job){steps + (size_t)t * count, count};
            require(pthread_create(&ids[t], NULL, run_job, &jobs[t]) == 0, "no thread");
        }
        run_program(steps, count);
        for (unsigned t = 1; t < threads; t++)
            pthread_join(ids[t], NULL);
        clear_swaps();
        walk_spoil(spoil);
        walk();
        _exit(0);
    }
    require(pid > 0 && waitpid(pid, &status, 0) == pid, "fork");
    return status;
}

/* Zeller's ddmin: leave out parts, ever smaller ones, as long as what is left fails. */
static unsigned shrink(struct step *steps, unsigned count)
{
    static struct step part[MOST_STEPS];
    for (unsigned chunk = count / 2; chunk > 0;) {
        bool shrunk = false;
        for (unsigned from = 0; from < count; from += chunk) {
            unsigned left = from + chunk < count ? count - chunk : from;
            memcpy(part, steps, from * sizeof *steps);
            memcpy(part + from, steps + from + chunk, (left - from) * sizeof *steps);
            if (left > 0 && outcome(part, left, 1, true) != 0) {
                memcpy(steps, part, left * sizeof *steps);
                count = left;
                shrunk = true;
                from -= chunk;
            }
        }
        chunk = shrunk && chunk < count ? chunk : chunk / 2;
    }
    return count;
}

static void tell(const struct step *steps, unsigned count, uint64_t seed)
{
    printf("seed %llu fails; %u steps are enough:\n", (unsigned long long)seed, count);
    for (unsigned i = 0; i < count; i++)
        printf("  %s slot %u size %u align %u\n", call_names[steps[i].call], steps[i].slot % SLOTS, steps[i].size,
               1u << steps[i].align_shift);
}

int main(int argc, char **argv)
{
    static struct step steps[MOST_STEPS];
    unsigned long numbers[] = {1, 20, 3000, 1, 0, 0};
    static const struct option options[] = {{"seed", 1, NULL, 0},
                                            {"programs", 1, NULL, 1},
                                            {"steps", 1, NULL, 2},
                                            {"threads", 1, NULL, 3},
                                            {"seconds", 1, NULL, 4},
                                            {"spoil", 1, NULL, 5},
                                            {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        require(option >= 0 && option < 6,
                "usage: model [--seed N] [--programs N] [--steps N] [--threads N] [--seconds N] [--spoil N]");
        numbers[option] = strtoul(optarg, NULL, 10);
    }
    spoil = numbers[5];
    unsigned long seed = numbers[0], programs = numbers[1], seconds = numbers[4];
    unsigned count = (unsigned)numbers[2], threads = (unsigned)numbers[3];
    require(threads >= 1 && threads <= 64 && count >= 1 && count * threads <= MOST_STEPS, "steps x threads: 1 to %u",
            MOST_STEPS);
    find_functions();
    alone = threads == 1;
    uint64_t end = now_ms() + seconds * 1000;
    unsigned long done = 0;
    for (; seconds != 0 ? now_ms() < end : done < programs; done++, seed++) {
        make_program(steps, count * threads, seed);
        if (outcome(steps, count, threads, false) == 0)
            continue;
        if (threads == 1)
            count = shrink(steps, count);
        tell(steps, count * threads, seed);
        return 1;
    }
    printf("%lu programs passed\n", done);
    return 0;
}
