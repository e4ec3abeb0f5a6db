/* many_stacks.c - asks in vain for memory from 20,000 places in turn, each with a stack of its own, and says how often. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define DEPTH 15 /* 2^15 ways from the root to a leaf */

static unsigned asked;

/* Which of two calls it is stands in the return address: a bit of the path at each level. */
__attribute__((noinline)) static void ask(unsigned path, int depth)
{
    if (depth == 0) {
        void *volatile block = malloc(SIZE_MAX / 2 + 1);
        asked += block == NULL;
    } else if (path & 1) {
        ask(path >> 1, depth - 1);
        __asm__ volatile("");
    } else {
        ask(path >> 1, depth - 1);
        __asm__ volatile("nop");
    }
}

int main(void)
{
    for (unsigned path = 0; path < 20000; path++)
        ask(path, DEPTH);
    printf("%u\n", asked);
    return 0;
}
