/* heap_event.h - what heap.bpf.c tells of sampled allocation, record by record, in the order in which it happened.
 *
 * An allocation carries the registers and the upper end of the stack, so that a reader can unwind it: Debian's programs keep no frame
 * pointers. */
#ifndef HAKMEM_HEAP_EVENT_H
#define HAKMEM_HEAP_EVENT_H

#include <stdint.h>

#define HK_HEAP_PIECE 1024u /* bytes of stack that are copied at a time */
#define HK_HEAP_PIECES 30u
#define HK_HEAP_REGISTERS 34u

enum hk_heap_kind { HK_HEAP_ALLOC, HK_HEAP_FREE };

/* Counts of what could not be told, in the map `heap_lost`. */
enum hk_heap_lost {
    HK_HEAP_LOST_ALLOCS,  /* samples for which the ring had no room */
    HK_HEAP_LOST_FREES,   /* the same: their blocks seem to live */
    HK_HEAP_LOST_THINNED, /* samples left out on purpose, others weigh the more */
    HK_HEAP_LOST_KINDS
};

struct hk_heap_free {
    uint64_t kind;
    uint64_t time; /* ns since boot */
    uint64_t address;
};

struct hk_heap_alloc {
    struct hk_heap_free head;
    uint64_t size;   /* bytes asked for */
    uint64_t weight; /* bytes that the sample stands for */
    uint32_t tid;
    uint32_t stack_length;                         /* bytes of `stack` */
    uint64_t registers[HK_HEAP_REGISTERS];         /* x86-64: struct pt_regs, word by word; arm64: x0 to x30, sp, pc */
    uint8_t stack[HK_HEAP_PIECE * HK_HEAP_PIECES]; /* from the stack pointer up */
};

#endif
