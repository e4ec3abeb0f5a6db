#include "unwind.h"

#include <dlfcn.h>
#include <elfutils/libdwfl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "complain.h"
#include "memory.h"
#include "modules.h"
#include "safe_text.h"

#define NAME_MOST 400u /* bytes of a function's or file's name */
#define OWN_FILE "libhakmem."
#define KNOWN 4096u /* a power of two */

struct unwinder {
    Dwfl *dwfl;
    pid_t pid;
    const struct hk_heap_alloc *sample;
    struct frame *frames;
    unsigned depth, most;
    bool leaving; /* still in the allocator's own frames */
    char *(*demangle)(const char *, char *, size_t *, int *);
    /* By address, so that most frames need no look through a symbol table, which libdw goes through from one end to the other. */
    struct known_frame {
        Dwarf_Addr pc; /* 0: none */
        bool before;
        struct frame frame;
    } known[KNOWN];
};

/* ---- what libdw asks ---- */

static pid_t next_thread(Dwfl *dwfl, void *arg, void **thread_arg)
{
    const struct unwinder *unwinder = arg;
    (void)dwfl;
    if (*thread_arg != NULL)
        return 0;
    *thread_arg = arg;
    return unwinder->pid;
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *arg, void **thread_arg)
{
    (void)dwfl, (void)tid;
    *thread_arg = arg;
    return true;
}

static uint64_t stack_pointer(const struct hk_heap_alloc *sample)
{
#if defined(__x86_64__)
    return sample->registers[19];
#else
    return sample->registers[31];
#endif
}

/* The stack from the copy, all else as it is now: code and its tables. */
static bool read_memory(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *result, void *arg)
{
    const struct unwinder *unwinder = arg;
    const struct hk_heap_alloc *sample = unwinder->sample;
    uint64_t from = stack_pointer(sample);
    (void)dwfl;
    if (address >= from && address - from + sizeof *result <= sample->stack_length) {
        memcpy(result, sample->stack + (address - from), sizeof *result);
        return true;
    }
    if (address >= from && address - from < UINT64_C(8) << 20) /* the stack above the copy: of another moment */
        return false;
    struct iovec here = {result, sizeof *result}, there = {(void *)(uintptr_t)address, sizeof *result};
    return process_vm_readv(unwinder->pid, &here, 1, &there, 1, 0) == (ssize_t)sizeof *result;
}

static bool set_registers(Dwfl_Thread *thread, void *arg)
{
    const struct unwinder *unwinder = arg;
    const uint64_t *from = unwinder->sample->registers;
#if defined(__x86_64__)
    /* DWARF's numbers 0 to 16 of struct pt_regs's words: rax rdx rcx rbx rsi rdi rbp rsp r8..r15 rip */
    static const uint8_t words[] = {10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0, 16};
    Dwarf_Word registers[sizeof words];
    for (unsigned i = 0; i < sizeof words; i++)
        registers[i] = from[words[i]];
    return dwfl_thread_state_registers(thread, 0, sizeof words, registers);
#else
    Dwarf_Word registers[32];
    for (unsigned i = 0; i < 32; i++)
        registers[i] = from[i];
    dwfl_thread_state_register_pc(thread, from[32]);
    return dwfl_thread_state_registers(thread, 0, 32, registers);
#endif
}

static const Dwfl_Thread_Callbacks thread_callbacks = {.next_thread = next_thread,
                                                       .get_thread = get_thread,
                                                       .memory_read = read_memory,
                                                       .set_initial_registers = set_registers};

/* Separate debug files are found by build-id and link below /usr/lib/debug. */
static const Dwfl_Callbacks callbacks = {
    .find_elf = modules_find_file,
    .find_debuginfo = dwfl_standard_find_debuginfo,
};

/* ---- names ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static const char *safe_name(const char *name)
{
    char safe[SAFE_TEXT_SIZE(NAME_MOST)];
    safe_text(safe, name, NAME_MOST);
    return intern(safe);
}

/* Files that were mapped since the last look are looked for once more. */
static Dwfl_Module *module_of(struct unwinder *unwinder, Dwarf_Addr pc)
{
    Dwarf_Addr from, to;
    for (unsigned look = 0; look < 2; look++) {
        Dwfl_Module *module = dwfl_addrmodule(unwinder->dwfl, pc);
        if (module != NULL && dwfl_module_info(module, NULL, &from, &to, NULL, NULL, NULL, NULL) != NULL &&
            pc >= from && pc < to)
            return module;
        if (look == 0) {
            memset(unwinder->known, 0, sizeof unwinder->known);
            dwfl_report_begin_add(unwinder->dwfl);
            modules_report(unwinder->dwfl, unwinder->pid);
            dwfl_report_end(unwinder->dwfl, NULL, NULL);
        }
    }
    return NULL;
}

static struct frame named(struct unwinder *unwinder, Dwarf_Addr pc, bool before)
{
    struct frame frame = {.address = pc, .file = ""};
    Dwfl_Module *module = module_of(unwinder, pc - before);
    const char *main_file = NULL;
    GElf_Off offset = 0;
    GElf_Sym symbol;
    if (module == NULL)
        return frame;
    const char *path = dwfl_module_info(module, NULL, NULL, NULL, NULL, NULL, &main_file, NULL);
    frame.file = safe_name(base_name(path != NULL ? path : main_file != NULL ? main_file : ""));
    const char *name = dwfl_module_addrinfo(module, pc - before, &offset, &symbol, NULL, NULL, NULL);
    if (name == NULL)
        return frame;
    int status = 0;
    char *plain = unwinder->demangle != NULL && strncmp(name, "_Z", 2) == 0
                      ? unwinder->demangle(name, NULL, NULL, &status)
                      : NULL;
    frame.function = safe_name(plain != NULL ? plain : name);
    frame.offset = offset + before;
    free(plain);
    return frame;
}

static struct frame frame_at(struct unwinder *unwinder, Dwarf_Addr pc, bool before)
{
    struct known_frame *known = &unwinder->known[(pc ^ pc >> 12) & (KNOWN - 1)];
    if (known->pc == pc && known->before == before && pc != 0)
        return known->frame;
    struct frame frame = named(unwinder, pc, before); /* may forget all that is known */
    if (frame.function != NULL)
        *known = (struct known_frame){.pc = pc, .before = before, .frame = frame};
    return frame;
}

static bool is_own(const struct frame *frame)
{
    return strncmp(frame->file, OWN_FILE, sizeof OWN_FILE - 1) == 0;
}

static int take_frame(Dwfl_Frame *state, void *arg)
{
    struct unwinder *unwinder = arg;
    Dwarf_Addr pc;
    bool exact;
    if (!dwfl_frame_pc(state, &pc, &exact))
        return DWARF_CB_ABORT;
    struct frame frame = frame_at(unwinder, pc, !exact);
    unwinder->leaving = unwinder->leaving && is_own(&frame);
    if (!unwinder->leaving && unwinder->depth < unwinder->most)
        unwinder->frames[unwinder->depth++] = frame;
    return unwinder->depth < unwinder->most ? DWARF_CB_OK : DWARF_CB_ABORT;
}

/* ---- ---- */

struct unwinder *unwinder_new(pid_t pid)
{
    struct unwinder *unwinder = grow(NULL, 1, sizeof *unwinder);
    *unwinder = (struct unwinder){.dwfl = dwfl_begin(&callbacks), .pid = pid};
    void *runtime = dlopen("libstdc++.so.6", RTLD_LAZY); /* names of C++ functions stay mangled without */
    if (runtime != NULL)
        *(void **)&unwinder->demangle = dlsym(runtime, "__cxa_demangle");
    if (unwinder->dwfl != NULL && modules_report(unwinder->dwfl, pid) == 0 &&
        dwfl_report_end(unwinder->dwfl, NULL, NULL) == 0 &&
        dwfl_attach_state(unwinder->dwfl, NULL, pid, &thread_callbacks, unwinder))
        return unwinder;
    complain("process %d may not be looked into: %s", (int)pid, dwfl_errmsg(-1));
    unwinder_free(unwinder);
    return NULL;
}

void unwinder_free(struct unwinder *unwinder)
{
    if (unwinder->dwfl != NULL)
        dwfl_end(unwinder->dwfl);
    free(unwinder);
}

unsigned unwind(struct unwinder *unwinder, const struct hk_heap_alloc *sample, struct frame *frames, unsigned most,
                bool *whole)
{
    unwinder->sample = sample;
    unwinder->frames = frames;
    unwinder->most = most;
    unwinder->depth = 0;
    unwinder->leaving = true;
    int result = dwfl_getthread_frames(unwinder->dwfl, unwinder->pid, take_frame, unwinder);
    *whole = result == 0;
    if (unwinder->depth == 0)
        frames[unwinder->depth++] = (struct frame){.function = intern("[no stack]"), .file = ""};
    return unwinder->depth;
}
