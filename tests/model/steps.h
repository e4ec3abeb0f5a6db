/* steps.h - a step of a random program of allocator calls, and the model that knows what every block must hold. Shared by the tester
 * that makes programs from seeds (model.c) and the fuzzer that makes them from bytes (fuzz/program.c).
 *
 * Every byte of a block is checked before it is given back; alignment, usable size and that no blocks overlap, when it is new. */
#ifndef MODEL_STEPS_H
#define MODEL_STEPS_H

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>

#include "../behaviour/check.h"
#include "walk.h"

#define SLOTS 64u
#define SWAPS 256u

#define EACH_CALL(of)                                                                                               \
    of(MALLOC) of(CALLOC) of(REALLOC) of(REALLOCARRAY) of(ALIGNED_ALLOC) of(POSIX_MEMALIGN) of(MEMALIGN) of(VALLOC) \
        of(PVALLOC) of(MALLOCX) of(RALLOCX) of(XALLOCX) of(NEW) of(NEW_ALIGNED) of(FREE) of(FREE_SIZED) of(USABLE)  \
            of(TRIM) of(CHECK) of(SWAP) of(FORK)
#define NAME(call) #call,
#define CONSTANT(call) call,
enum call { EACH_CALL(CONSTANT) CALLS };
static const char *const call_names[CALLS] = {EACH_CALL(NAME)};

struct step {
    uint8_t call, slot, align_shift;
    uint32_t size;
};

/* The function that frees the block by its size; other functions free it without. */
enum sized_by { UNSIZED, BY_FREE_SIZED, BY_FREE_ALIGNED_SIZED, BY_SDALLOCX, BY_DELETE, BY_DELETE_ALIGNED };

struct block {
    unsigned char *ptr;
    size_t size;
    size_t align;
    uint64_t mark; /* what its bytes follow from */
    enum sized_by sized;
};

static bool alone; /* no other thread runs */
static struct block swaps[SWAPS];
static pthread_mutex_t swap_lock = PTHREAD_MUTEX_INITIALIZER;

/* What libc and the headers may lack: NULL where nobody has it. C++'s operators by their names in the Itanium ABI. */
#define EACH_OPTIONAL(of)                                                                                           \
    of(free_sized, "free_sized", void, (void *, size_t))                                                            \
        of(free_aligned_sized, "free_aligned_sized", void, (void *, size_t, size_t))                                \
            of(mallocx, "mallocx", void *, (size_t, int)) of(rallocx, "rallocx", void *, (void *, size_t, int))     \
                of(xallocx, "xallocx", size_t, (void *, size_t, size_t, int))                                       \
                    of(sallocx, "sallocx", size_t, (const void *, int)) of(dallocx, "dallocx", void, (void *, int)) \
                        of(sdallocx, "sdallocx", void, (void *, size_t, int)) of(new, "_Znwm", void *, (size_t))    \
                            of(new_aligned, "_ZnwmSt11align_val_t", void *, (size_t, size_t))                       \
                                of(delete, "_ZdlPvm", void, (void *, size_t))                                       \
                                    of(delete_aligned, "_ZdlPvmSt11align_val_t", void, (void *, size_t, size_t))
#define POINTER(name, symbol, returns, arguments) static returns(*maybe_##name) arguments;
EACH_OPTIONAL(POINTER)
#define LOOK_UP(name, symbol, returns, arguments) *(void **)&maybe_##name = dlsym(RTLD_DEFAULT, symbol);
static void find_functions(void)
{
    EACH_OPTIONAL(LOOK_UP)
}

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

/* MALLOCX_ALIGN(align) */
static int flags_of(size_t align)
{
    return __builtin_ctzl(align);
}

static void give(struct block *block, bool by_size)
{
    if (block->ptr == NULL)
        return;
    check(block, block->size);
    switch (by_size ? block->sized : UNSIZED) {
    case BY_FREE_SIZED:
        maybe_free_sized(block->ptr, block->size);
        break;
    case BY_FREE_ALIGNED_SIZED:
        maybe_free_aligned_sized(block->ptr, block->align, block->size);
        break;
    case BY_SDALLOCX:
        maybe_sdallocx(block->ptr, block->size, flags_of(block->align));
        break;
    case BY_DELETE:
        maybe_delete(block->ptr, block->size);
        break;
    case BY_DELETE_ALIGNED:
        maybe_delete_aligned(block->ptr, block->size, block->align);
        break;
    default:
        if (maybe_dallocx != NULL && block->mark % 2 == 1)
            maybe_dallocx(block->ptr, 0);
        else
            free(block->ptr);
        break;
    }
    block->ptr = NULL;
}

/* ---- a step ---- */

static void *allocate_by(const struct step *step, struct block *block)
{
    size_t align = (size_t)1 << step->align_shift, size = step->size;
    void *ptr = NULL;
    block->align = align < 16 ? 16 : align;
    switch (step->call) {
    case ALIGNED_ALLOC:
        block->sized = maybe_free_aligned_sized != NULL ? BY_FREE_ALIGNED_SIZED : UNSIZED;
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
        if (maybe_mallocx == NULL)
            break;
        block->sized = BY_SDALLOCX;
        return maybe_mallocx(size, flags_of(block->align));
    case NEW_ALIGNED:
        if (maybe_new_aligned == NULL)
            break;
        block->sized = BY_DELETE_ALIGNED;
        return maybe_new_aligned(size, block->align);
    case NEW:
        if (maybe_new == NULL)
            break;
        block->align = 16;
        block->sized = BY_DELETE;
        return maybe_new(size);
    case CALLOC: {
        unsigned char *bytes = calloc(1, size);
        for (size_t at = 0; bytes != NULL && at < size; at++)
            require(bytes[at] == 0, "byte %zu of calloc's %zu is %u", at, size, bytes[at]);
        ptr = bytes;
        break;
    }
    default:
        break;
    }
    block->align = 16;
    block->sized = maybe_free_sized != NULL ? BY_FREE_SIZED : UNSIZED;
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

static void resize(struct block *slots, struct block *slot, const struct step *step)
{
    size_t size = step->size == 0 ? 1 : step->size, kept = slot->ptr == NULL   ? 0
                                                           : slot->size < size ? slot->size
                                                                               : size;
    slot->align = 16;
    slot->sized = maybe_free_sized != NULL ? BY_FREE_SIZED : UNSIZED;
    if (step->call == RALLOCX && maybe_rallocx != NULL && slot->ptr != NULL) {
        slot->align = (size_t)1 << (step->align_shift < 4 ? 4 : step->align_shift);
        slot->sized = BY_SDALLOCX;
        slot->ptr = maybe_rallocx(slot->ptr, size, flags_of(slot->align));
    } else {
        slot->ptr = step->call == REALLOC ? realloc(slot->ptr, size) : reallocarray(slot->ptr, size, 1);
    }
    slot->size = size;
    check_new(slot, slots, slot);
    check(slot, kept);
    fill(slot, kept);
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
    slot->sized = UNSIZED;
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

static void take_step(struct block *slots, const struct step *step)
{
    struct block *slot = &slots[step->slot % SLOTS];
    switch (step->call) {
    case REALLOC:
    case REALLOCARRAY:
    case RALLOCX:
        resize(slots, slot, step);
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
        malloc_trim(step->size % 2 == 0 ? 0 : step->size);
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
