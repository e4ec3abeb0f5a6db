/* program.c - fuzzer: bytes are a program of allocator calls (model/steps.h), six for a step; what each block must hold and the
 * invariants of all tiers are looked at. The fuzzer itself runs on the allocator. */
#include "../model/steps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 0 to 4 MiB, small ones more often. */
static uint32_t size_of(const uint8_t *bytes)
{
    return (uint32_t)(bytes[0] | bytes[1] << 8) >> (bytes[2] & 15) << (bytes[2] >> 4 & 7) >> 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct step steps[1000];
    unsigned count = 0;
    for (; size >= 6 && count < sizeof steps / sizeof steps[0]; data += 6, size -= 6) {
        uint8_t call = data[0] % CALLS;
        steps[count++] = (struct step){call == FORK ? CHECK : call, data[1], data[2] % 17, size_of(data + 3)};
    }
    alone = true;
    find_functions();
    run_program(steps, count);
    for (unsigned i = 0; i < SWAPS; i++)
        give(&swaps[i], false);
    walk();
    return 0;
}
