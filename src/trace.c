#include "trace.h"

#include <dlfcn.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

#include "os.h"

/* Not there in a program that is linked with -static at fixed addresses. */
extern const char _DYNAMIC[] __attribute__((weak, visibility("hidden")));

#define SKIP_MOST 16u /* frames of hakmem's own, and of a signal's delivery */

struct walk {
    struct trace *trace;
    uintptr_t first;
    unsigned seen;
    bool found;
};

static _Unwind_Reason_Code on_frame(struct _Unwind_Context *context, void *arg)
{
    struct walk *walk = arg;
    struct trace *trace = walk->trace;
    uintptr_t pc = (uintptr_t)_Unwind_GetIP(context);
    if (pc != 0 && pc == walk->first && !walk->found) {
        walk->found = true;
        trace->depth = 0;
    }
    if (pc == 0 || trace->depth == TRACE_FRAMES || (!walk->found && ++walk->seen > SKIP_MOST))
        return _URC_END_OF_STACK;
    trace->pcs[trace->depth++] = pc;
    return _URC_NO_REASON;
}

/* There libgcc finds a function's frame in tables that it sorts when it first looks: under a lock, in memory of malloc's. */
static bool can_unwind(void)
{
    return _DYNAMIC != NULL;
}

void trace_take(struct trace *trace, uintptr_t first, bool at_fault)
{
    struct walk walk = {.trace = trace, .first = first};
    trace->at_fault = at_fault;
    trace->tid = (uint32_t)syscall(SYS_gettid);
    trace->pcs[0] = first;
    trace->depth = first != 0 && !can_unwind();
    if (can_unwind())
        _Unwind_Backtrace(on_frame, &walk);
}

/* What dladdr(3) knows of a frame. What follows the last call of a function that doesn't return may be another function. */
static bool look_up(const struct trace *trace, unsigned n, Dl_info *info)
{
    bool is_return = n > 0 || !trace->at_fault;
    return dladdr((void *)(trace->pcs[n] - is_return), info) != 0 && info->dli_fname != NULL;
}

/* The first frame that is not this library's; 0 when that is the program itself. */
static unsigned first_outside(const struct trace *trace)
{
    Dl_info own, program, info;
    unsigned n = 0;
    if (dladdr((void *)(uintptr_t)trace_write, &own) == 0 || dladdr((void *)getauxval(AT_ENTRY), &program) == 0 ||
        own.dli_fbase == program.dli_fbase)
        return 0;
    while (n < trace->depth && look_up(trace, n, &info) && info.dli_fbase == own.dli_fbase)
        n++;
    return n;
}

static void write_frame(int fd, const struct trace *trace, unsigned n, unsigned number)
{
    Dl_info info;
    uintptr_t pc = trace->pcs[n];
    if (!look_up(trace, n, &info)) {
        os_message_to(fd, "    #%u %p\n", number, (void *)pc);
        return;
    }
    size_t in_file = (size_t)(pc - (uintptr_t)info.dli_fbase);
    if (info.dli_sname != NULL)
        os_message_to(fd, "    #%u %p %s+0x%zx (%s+0x%zx)\n", number, (void *)pc, info.dli_sname,
                      (size_t)(pc - (uintptr_t)info.dli_saddr), info.dli_fname, in_file);
    else
        os_message_to(fd, "    #%u %p (%s+0x%zx)\n", number, (void *)pc, info.dli_fname, in_file);
}

void trace_write(int fd, const struct trace *trace)
{
    unsigned first = first_outside(trace);
    for (unsigned n = first; n < trace->depth && n < TRACE_FRAMES; n++)
        write_frame(fd, trace, n, n - first);
}
