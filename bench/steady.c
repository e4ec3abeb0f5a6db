/* steady - a process that allocates at a given rate and sleeps between: what watching it costs is processor time, not speed. Each ms it
 * frees some of its blocks, in random order, and allocates as many. An operation is a malloc or a free. A second line says what
 * processor time it took, in per cent of a processor, but for the first second:
 *
 *   processor=PER_CENT */
#include "common.h"

#include <stdio.h>
#include <time.h>

static uint64_t rate = 1000000000, live = 4096, seconds = 5;

static double processor_time(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void sleep_until(double moment)
{
    double left = moment - now();
    if (left > 0)
        nanosleep(&(struct timespec){(time_t)left, (long)((left - (double)(time_t)left) * 1e9)}, NULL);
}

int main(int argc, char **argv)
{
    static const struct option_row options[] = {
        {"rate", &rate, 1000, UINT64_C(1) << 40, "bytes allocated a second"},
        {"live", &live, 1, UINT32_MAX, "blocks that live"},
        {"seconds", &seconds, 2, 1000000, "how long"},
        OPTIONS_OF_SIZE,
        OPTION_OF_SEED,
    };
    size_lo = size_hi = 2000;
    read_options(argc, argv, options, sizeof(options) / sizeof(*options));
    void **blocks = own_pages(live * sizeof(*blocks));
    struct work total = {.began = now()};
    double spent = 0;
    uint64_t random_state = random_seeded(seed);
    for (uint64_t ms = 0; ms < seconds * 1000; ms++) {
        if (ms == 1000)
            spent = processor_time();
        while (total.bytes < rate / 1000 * (ms + 1)) {
            random_state = random_next(random_state);
            void **block = &blocks[random_high(random_state, live)];
            free(*block);
            *block = take_block(&total, random_size(random_state));
        }
        sleep_until(total.began + (double)(ms + 1) * 1e-3);
    }
    spent = processor_time() - spent;
    total.ended = now();
    total.ops = 2 * total.allocs;
    answer(&total);
    printf("processor=%.3f\n", 100 * spent / (double)(seconds - 1));
    return 0;
}
