/* steps.h - a step of a random program of allocator calls. Shared by the tester that makes programs from seeds (model.c) and the fuzzer
 * that makes them from bytes (fuzz/program.c). */
#ifndef MODEL_STEPS_H
#define MODEL_STEPS_H

#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>

#include "block.h"
#include "walk.h"

#define SWAPS 256u

#define EACH_CALL(of)                                                                                                \
    of(MALLOC) of(CALLOC) of(REALLOC) of(REALLOCARRAY) of(REALLOCF) of(REALLOC_TO_0) of(ALIGNED_ALLOC)               \
        of(POSIX_MEMALIGN) of(MEMALIGN) of(VALLOC) of(PVALLOC) of(MALLOCX) of(MALLOCX_ZERO) of(RALLOCX)              \
            of(RALLOCX_ZERO) of(XALLOCX) of(NEW) of(NEW_NOTHROW) of(NEW_ALIGNED) of(NEW_ARRAY) of(NEW_ARRAY_ALIGNED) \
                of(FREE) of(FREE_SIZED) of(USABLE) of(TRIM) of(TELL) of(CHECK) of(SWAP) of(FORK)
#define NAME(call) #call,
#define CONSTANT(call) call,
enum call { EACH_CALL(CONSTANT) CALLS };
static const char *const call_names[CALLS] = {EACH_CALL(NAME)};

struct step {
    uint8_t call, slot, align_shift;
    uint32_t size;
};

static bool alone; /* no other thread runs */
static struct block swaps[SWAPS];
static pthread_mutex_t swap_lock = PTHREAD_MUTEX_INITIALIZER;

static void *allocate_by(const struct step *step, struct block *block)
{
    size_t align = (size_t)1 << step->align_shift, size = step->size, parts;
    void *ptr = NULL;
    block->align = align < 16 ? 16 : align;
    switch (step->call) {
    case ALIGNED_ALLOC:
        block->by = maybe_free_aligned_sized != NULL ? BY_FREE_ALIGNED_SIZED : BY_FREE;
        return aligned_alloc(block->align, size);
    case POSIX_MEMALIGN:
        return posix_memalign(&ptr, block->align, size) == 0 ? ptr : NULL;
    case MEMALIGN:
        return memalign(block->align, size);
    case VALLOC:
        block->align = 4096;
        return valloc(size);
    case PVALLOC:
        block->align = 4096;
        return pvalloc(size);
    case MALLOCX:
    case MALLOCX_ZERO:
        if (maybe_mallocx == NULL)
            break;
        block->by = BY_SDALLOCX;
        if (size == 0) /* not defined */
            size = block->size = 1;
        ptr = maybe_mallocx(size, flags_of(block->align) | (step->call == MALLOCX_ZERO ? FLAG_ZERO : 0));
        if (step->call == MALLOCX_ZERO && ptr != NULL)
            check_zero(ptr, 0, size);
        require(maybe_nallocx(size, flags_of(block->align)) >= size, "nallocx of %zu", size);
        return ptr;
    case NEW_ALIGNED:
        if (maybe_new_aligned == NULL)
            break;
        block->by = BY_DELETE_ALIGNED;
        return maybe_new_aligned(size, block->align);
    case NEW_ARRAY_ALIGNED:
        if (maybe_new_array_aligned_nothrow == NULL)
            break;
        block->by = BY_DELETE_ARRAY_ALIGNED;
        return maybe_new_array_aligned_nothrow(size, block->align, "");
    case NEW:
    case NEW_NOTHROW:
        if (maybe_new == NULL)
            break;
        block->align = 16;
        block->by = step->call == NEW ? BY_DELETE_SIZED : BY_DELETE;
        return step->call == NEW ? maybe_new(size) : maybe_new_nothrow(size, "");
    case NEW_ARRAY:
        if (maybe_new_array == NULL)
            break;
        block->align = 16;
        block->by = step->align_shift % 2 == 0 ? BY_DELETE_ARRAY_SIZED : BY_DELETE_ARRAY;
        return maybe_new_array(size);
    case CALLOC:
        parts = step->align_shift;
        if (parts < 2 || size % parts != 0)
            parts = 1;
        ptr = calloc(parts, size / parts);
        if (ptr != NULL)
            check_zero(ptr, 0, size);
        break;
    default:
        break;
    }
    block->align = 16;
    block->by = maybe_free_sized != NULL ? BY_FREE_SIZED : BY_FREE;
    return ptr != NULL ? ptr : malloc(size);
}

static void allocate(struct block *slots, struct block *slot, const struct step *step)
{
    give(slot, false);
    *slot = (struct block){.size = step->size, .mark = slot->mark + step->size * 7 + step->slot + 1};
    slot->ptr = allocate_by(step, slot);
    check_new(slot, slots, slot);
    fill(slot, 0);
}

static void *resize_by(const struct step *step, struct block *slot, size_t size)
{
    size_t usable = malloc_usable_size(slot->ptr);
    slot->align = 16;
    slot->by = maybe_free_sized != NULL ? BY_FREE_SIZED : BY_FREE;
    switch (step->call) {
    case RALLOCX:
    case RALLOCX_ZERO: {
        if (maybe_rallocx == NULL || slot->ptr == NULL)
            break;
        slot->align = (size_t)1 << (step->align_shift < 4 ? 4 : step->align_shift);
        slot->by = BY_SDALLOCX;
        unsigned char *moved =
            maybe_rallocx(slot->ptr, size, flags_of(slot->align) | (step->call == RALLOCX_ZERO ? FLAG_ZERO : 0));
        if (step->call == RALLOCX_ZERO && moved != NULL)
            check_zero(moved, usable, size);
        return moved;
    }
    case REALLOCARRAY:
        return size % 3 == 0 ? reallocarray(slot->ptr, size / 3, 3) : reallocarray(slot->ptr, size, 1);
    case REALLOCF:
        if (maybe_reallocf == NULL)
            break;
        return maybe_reallocf(slot->ptr, size);
    default:
        break;
    }
    return realloc(slot->ptr, size);
}

static void resize(struct block *slots, struct block *slot, const struct step *step)
{
    size_t size = step->size == 0 ? 1 : step->size, kept = slot->ptr == NULL   ? 0
                                                           : slot->size < size ? slot->size
                                                                               : size;
    slot->ptr = resize_by(step, slot, size);
    slot->size = size;
    check_new(slot, slots, slot);
    check(slot, kept);
    fill(slot, kept);
}

/* Frees a block, as glibc's does. */
static void resize_to_0(struct block *slot, const struct step *step)
{
    if (slot->ptr == NULL)
        return;
    check(slot, slot->size);
    void *left = maybe_reallocf != NULL && step->size % 2 == 1 ? maybe_reallocf(slot->ptr, 0) : realloc(slot->ptr, 0);
    require(left == NULL, "realloc to 0 gives %p", left);
    slot->ptr = NULL;
}

/* Where it lies, or not at all. */
static void resize_in_place(struct block *slots, struct block *slot, const struct step *step)
{
    if (slot->ptr == NULL || maybe_xallocx == NULL)
        return;
    size_t size = step->size == 0 ? 1 : step->size, kept = slot->size < size ? slot->size : size;
    size_t usable = maybe_xallocx(slot->ptr, size, step->slot * 8u, 0);
    require(usable == maybe_sallocx(slot->ptr, 0), "xallocx tells %zu bytes, sallocx %zu", usable,
            maybe_sallocx(slot->ptr, 0));
    slot->by = BY_FREE;
    if (usable < size) /* it did not grow */
        return;
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
        if (alone)
            walk();
        _exit(0);
    }
    require(pid > 0, "fork: %s", strerror(errno));
    require(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
    require(status == 0, "a child ended with %#x", status);
}

/* What tells of the heap, each in its turn; that sums are right is other tests' affair. */
static void tell_all(const struct step *step)
{
    _Alignas(16) char room[64];
    struct mallinfo2 info;
    switch (step->size % 5) {
    case 0:
        info = mallinfo2();
        require(info.arena >= info.uordblks, "mallinfo2: %zu bytes in all, %zu live", info.arena, info.uordblks);
        break;
    case 1: {
        FILE *none = fopen("/dev/null", "w");
        require(none != NULL && malloc_info(0, none) == 0, "malloc_info");
        fclose(none);
        break;
    }
    case 2:
        require(mallopt(M_MMAP_THRESHOLD, 128 << 10) == 1 && mallopt(M_TRIM_THRESHOLD, 128 << 10) == 1, "mallopt");
        break;
    case 3:
        require(maybe_hk_stats == NULL || maybe_hk_stats(room, sizeof room) == 0, "hk_stats");
        break;
    default:
        require(maybe_hk_class_stats == NULL || maybe_hk_class_stats(step->slot % 64, room, sizeof room) == 0,
                "hk_class_stats");
        break;
    }
}

static void take_step(struct block *slots, const struct step *step)
{
    struct block *slot = &slots[step->slot % SLOTS];
    switch (step->call) {
    case REALLOC:
    case REALLOCARRAY:
    case REALLOCF:
    case RALLOCX:
    case RALLOCX_ZERO:
        resize(slots, slot, step);
        break;
    case REALLOC_TO_0:
        resize_to_0(slot, step);
        break;
    case XALLOCX:
        resize_in_place(slots, slot, step);
        break;
    case FREE:
    case FREE_SIZED:
        give(slot, step->call == FREE_SIZED);
        break;
    case USABLE:
        require(slot->ptr == NULL || malloc_usable_size(slot->ptr) >= slot->size, "usable size");
        break;
    case TRIM:
        if (maybe_hk_trim != NULL && step->slot % 2 == 1)
            maybe_hk_trim();
        else
            malloc_trim(step->size % 2 == 0 ? 0 : step->size);
        break;
    case TELL:
        tell_all(step);
        break;
    case CHECK:
        for (unsigned i = 0; i < SLOTS; i++)
            if (slots[i].ptr != NULL)
                check(&slots[i], slots[i].size);
        if (alone)
            walk();
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

#endif
