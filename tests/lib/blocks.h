/* blocks.h - blocks by the thousand, for loads that are watched. Their table lies outside of the heap. */
#ifndef BLOCKS_H
#define BLOCKS_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* The one function that asks for memory: what a stack must show. */
__attribute__((noinline)) void *ask_for_memory(size_t size);
void *ask_for_memory(size_t size)
{
    void *block = malloc(size);
    __asm__ volatile("" : "+r"(block)); /* no tail call: this frame stays on the stack */
    return block;
}

/* `count` blocks, written to. */
static void **take(size_t count, size_t size)
{
    void **blocks =
        mmap(NULL, count * sizeof *blocks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (size_t i = 0; i < count; i++) {
        if (blocks == MAP_FAILED || (blocks[i] = ask_for_memory(size)) == NULL) {
            fprintf(stderr, "no block %zu of %zu bytes\n", i, size);
            _exit(8);
        }
        memset(blocks[i], 0x5a, size);
    }
    return blocks;
}

static void give(void **blocks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
    munmap(blocks, count * sizeof *blocks);
}

#endif
