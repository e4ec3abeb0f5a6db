/* model - random programs of allocator calls against a model that knows what every block must hold.
 *
 * usage: model [--seed N] [--programs N] [--steps N] [--threads N] [--seconds N]
 *
 * A program is a row of steps, made from its seed; it runs in a child, which checks every byte of every block before it gives it back
 * and at the end, alignment, usable sizes, and that blocks don't overlap. A program that fails is shrunk to the fewest steps that still
 * fail, and those are printed with the seed; exit status 1. With --threads programs run in so many threads at once, which swap blocks
 * by a table; those are replayed by their seed, but not shrunk. --seconds ends the programs after so long; else so many run. */
#include <dlfcn.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>

#include "../behaviour/check.h"

#define SLOTS 64u
#define SWAPS 256u
#define MOST_STEPS 20000u

#define EACH_CALL(of)                                                                                               \
    of(MALLOC) of(CALLOC) of(REALLOC) of(REALLOCARRAY) of(ALIGNED_ALLOC) of(POSIX_MEMALIGN) of(MEMALIGN) of(VALLOC) \
        of(PVALLOC) of(FREE) of(FREE_SIZED) of(USABLE) of(TRIM) of(CHECK) of(SWAP) of(FORK)
#define NAME(call) #call,
#define CONSTANT(call) call,
enum call { EACH_CALL(CONSTANT) CALLS };
static const char *const call_names[CALLS] = {EACH_CALL(NAME)};

struct step {
    uint8_t call, slot, align_shift;
    uint32_t size;
};

struct block {
    unsigned char *ptr;
    size_t size;
    size_t align;
    uint64_t mark; /* what its bytes follow from */
    bool sized;    /* allocated so that free_sized() may free it */
};

static struct block swaps[SWAPS];
static pthread_mutex_t swap_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*sized_free)(void *, size_t);

/* ---- the model ---- */

static unsigned char byte_at(const struct block *block, size_t at)
{
    return (unsigned char)((block->mark + at * 0x9e3779b97f4a7c15u) >> 56);
}

static void fill(struct block *block, size_t from)
{
    for (size_t at = from; at < block->size; at++)
        block->ptr[at] = byte_at(block, at);
}

static void check(const struct block *block, size_t size)
{
    for (size_t at = 0; at < size; at++)
        require(block->ptr[at] == byte_at(block, at), "byte %zu of %zu at %p is %u, not %u", at, block->size,
                (void *)block->ptr, block->ptr[at], byte_at(block, at));
}

static void check_new(const struct block *block, const struct block *others, const struct block *itself)
{
    require(block->ptr != NULL, "out of memory: %zu bytes", block->size);
    require((uintptr_t)block->ptr % block->align == 0, "%p is no multiple of %zu", (void *)block->ptr, block->align);
    require(malloc_usable_size(block->ptr) >= block->size, "%zu bytes usable of %zu", malloc_usable_size(block->ptr),
            block->size);
    for (unsigned i = 0; i < SLOTS; i++)
        require(&others[i] == itself || others[i].ptr == NULL || others[i].ptr + others[i].size <= block->ptr ||
                    block->ptr + block->size <= others[i].ptr,
                "%p of %zu bytes overlaps %p of %zu", (void *)block->ptr, block->size, (void *)others[i].ptr,
                others[i].size);
}

static void give(struct block *block, bool by_size)
{
    if (block->ptr == NULL)
        return;
    check(block, block->size);
    if (by_size && block->sized && sized_free != NULL)
        sized_free(block->ptr, block->size);
    else
        free(block->ptr);
    block->ptr = NULL;
}

/* ---- a step ---- */

static void allocate(struct block *slots, struct block *slot, const struct step *step)
{
    size_t align = (size_t)1 << step->align_shift, size = step->size;
    give(slot, false);
    *slot = (struct block){.size = size, .align = 16, .mark = slot->mark + size * 7 + step->slot + 1};
    switch (step->call) {
    case CALLOC:
        slot->ptr = calloc(1, size);
        for (size_t at = 0; slot->ptr != NULL && at < size; at++)
            require(slot->ptr[at] == 0, "byte %zu of calloc's %zu is %u", at, size, slot->ptr[at]);
        slot->sized = true;
        break;
    case ALIGNED_ALLOC:
        slot->ptr = aligned_alloc(slot->align = align < 16 ? 16 : align, size);
        break;
    case POSIX_MEMALIGN:
        slot->align = align < 16 ? 16 : align;
        if (posix_memalign((void **)&slot->ptr, slot->align, size) != 0)
            slot->ptr = NULL;
        break;
    case MEMALIGN:
        slot->ptr = memalign(slot->align = align < 16 ? 16 : align, size);
        break;
    case VALLOC:
        slot->ptr = valloc(size);
        slot->align = 4096;
        break;
    case PVALLOC:
        slot->ptr = pvalloc(size);
        slot->align = 4096;
        break;
    default:
        slot->ptr = malloc(size);
        slot->sized = true;
        break;
    }
    check_new(slot, slots, slot);
    fill(slot, 0);
}

static void resize(struct block *slots, struct block *slot, const struct step *step)
{
    size_t size = step->size == 0 ? 1 : step->size, kept = slot->ptr == NULL   ? 0
                                                           : slot->size < size ? slot->size
                                                                               : size;
    slot->ptr = step->call == REALLOC ? realloc(slot->ptr, size) : reallocarray(slot->ptr, size, 1);
    slot->align = 16;
    slot->sized = true;
    slot->size = size;
    check_new(slot, slots, slot);
    check(slot, kept);
    fill(slot, kept);
}

static void swap(struct block *slot, unsigned place)
{
    pthread_mutex_lock(&swap_lock);
    struct block other = swaps[place % SWAPS];
    swaps[place % SWAPS] = *slot;
    *slot = other;
    pthread_mutex_unlock(&swap_lock);
    if (slot->ptr != NULL)
        check(slot, slot->size);
}

static void in_child(struct block *slots)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        for (unsigned i = 0; i < SLOTS; i++)
            give(&slots[i], false);
        free(malloc(100));
        _exit(0);
    }
    require(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "a child ended with %d", status);
}

static void take_step(struct block *slots, const struct step *step)
{
    struct block *slot = &slots[step->slot % SLOTS];
    switch (step->call) {
    case REALLOC:
    case REALLOCARRAY:
        resize(slots, slot, step);
        break;
    case FREE:
    case FREE_SIZED:
        give(slot, step->call == FREE_SIZED);
        break;
    case USABLE:
        require(slot->ptr == NULL || malloc_usable_size(slot->ptr) >= slot->size, "usable size");
        break;
    case TRIM:
        malloc_trim(step->size % 2 == 0 ? 0 : step->size);
        break;
    case CHECK:
        for (unsigned i = 0; i < SLOTS; i++)
            if (slots[i].ptr != NULL)
                check(&slots[i], slots[i].size);
        break;
    case SWAP:
        swap(slot, step->size);
        break;
    case FORK:
        in_child(slots);
        break;
    default:
        allocate(slots, slot, step);
        break;
    }
}

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
    static const uint8_t often[] = {MALLOC,        MALLOC,         MALLOC,   CALLOC, REALLOC, REALLOC, REALLOCARRAY,
                                    ALIGNED_ALLOC, POSIX_MEMALIGN, MEMALIGN, FREE,   FREE,    FREE,    FREE,
                                    FREE_SIZED,    FREE_SIZED,     USABLE,   SWAP,   SWAP};
    uint64_t random = seed * 0x9e3779b97f4a7c15u + 1;
    for (unsigned i = 0; i < count; i++) {
        uint32_t pick = (uint32_t)(random_next(&random) >> 33) % 1000;
        uint8_t call = pick < 2    ? TRIM
                       : pick < 8  ? CHECK
                       : pick == 8 ? FORK
                       : pick < 12 ? VALLOC
                       : pick < 15 ? PVALLOC
                                   : often[pick % sizeof often];
        steps[i] = (struct step){call, (uint8_t)(random_next(&random) >> 20),
                                 (uint8_t)(4 + (random_next(&random) >> 30) % 12), random_size(&random)};
    }
}

static void run_program(const struct step *steps, unsigned count)
{
    struct block slots[SLOTS] = {0};
    for (unsigned i = 0; i < count; i++)
        take_step(slots, &steps[i]);
    for (unsigned i = 0; i < SLOTS; i++)
        give(&slots[i], i % 2 == 0);
}

static void clear_swaps(void)
{
    for (unsigned i = 0; i < SWAPS; i++)
        give(&swaps[i], false);
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
    unsigned long numbers[] = {1, 20, 3000, 1, 0};
    static const struct option options[] = {{"seed", 1, NULL, 0},    {"programs", 1, NULL, 1}, {"steps", 1, NULL, 2},
                                            {"threads", 1, NULL, 3}, {"seconds", 1, NULL, 4},  {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        require(option >= 0 && option < 5,
                "usage: model [--seed N] [--programs N] [--steps N] [--threads N] [--seconds N]");
        numbers[option] = strtoul(optarg, NULL, 10);
    }
    unsigned long seed = numbers[0], programs = numbers[1], seconds = numbers[4];
    unsigned count = (unsigned)numbers[2], threads = (unsigned)numbers[3];
    require(threads >= 1 && threads <= 64 && count >= 1 && count * threads <= MOST_STEPS, "steps x threads: 1 to %u",
            MOST_STEPS);
    *(void **)&sized_free = dlsym(RTLD_DEFAULT, "free_sized");
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
