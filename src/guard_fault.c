#include "guard_fault.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "os.h"

/* What the program had installed, each time one of hakmem's handlers came before it. The program finds that handler where it installs
 * another, and may put it back: so each goes on to what it came before, and comes before nothing else while there are others left. */
#define EACH_HANDLER(of) of(0) of(1) of(2) of(3) of(4) of(5) of(6) of(7)
#define COUNT_ONE(n) +1
#define HANDLERS (0u EACH_HANDLER(COUNT_ONE))
static struct sigaction previous[HANDLERS]; /* any: written when the program changed it */
static unsigned used_handlers;              /* any: */

/* The call of the program's handler that is under way, by the frame and the information that it was called from. any: */
static uintptr_t passing_frame, passing_info;

struct fault {
    const struct guard_slot *slot;
    struct sigaction *program; /* of previous */
    int signal;
    siginfo_t *info;
    void *context;
};

/* ---- the report ---- */

static void write_history(const struct guard_slot *slot)
{
    if (slot->allocated.depth == 0) /* it never held a block */
        return;
    if (slot->freed.depth != 0) {
        os_message("  freed by thread %u:\n", slot->freed.tid);
        trace_write(STDERR_FILENO, &slot->freed);
    }
    os_message("  allocated by thread %u:\n", slot->allocated.tid);
    trace_write(STDERR_FILENO, &slot->allocated);
}

struct call {
    const struct guard_slot *slot;
    const void *caller;
};

static void tell_call(void *arg)
{
    const struct call *call = arg;
    struct trace here;
    trace_take(&here, (uintptr_t)call->caller, false);
    os_message("  by thread %u:\n", here.tid);
    trace_write(STDERR_FILENO, &here);
    write_history(call->slot);
}

void guard_abort(const struct guard_slot *slot, enum misuse_kind kind, const void *ptr, const void *caller)
{
    struct call call = {slot, caller};
    misuse_abort_telling(kind, ptr, slot->size, tell_call, &call);
}

/* ---- the program's own handler ---- */

static void be_default(int signal, const siginfo_t *info)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(signal, &action, NULL);
    if (info->si_code <= 0) /* sent by a process: it won't come again by itself */
        syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), signal);
}

/* Where the program's handler calls the one that it found before its own, that is this one: with the same information, deeper on
 * the stack. A handler may have left by siglongjmp, and the next fault find its information at the same place. */
static bool is_called_back(const siginfo_t *info, uintptr_t frame)
{
    return atomic_load_relaxed(&passing_info) == (uintptr_t)info && frame < atomic_load_relaxed(&passing_frame);
}

/* As the kernel would have called it. */
static HK_NOINLINE void pass_on(struct sigaction *program, int signal, siginfo_t *info, void *context)
{
    struct sigaction action = *program;
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    if (action.sa_handler == SIG_IGN && info->si_code <= 0)
        return;
    if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN || is_called_back(info, frame)) {
        be_default(signal, info);
        return;
    }
    if (action.sa_flags & SA_RESETHAND)
        *program = (struct sigaction){.sa_handler = SIG_DFL};
    pthread_sigmask(SIG_BLOCK, &action.sa_mask, NULL);
    if (action.sa_flags & SA_NODEFER) {
        sigset_t own;
        sigemptyset(&own);
        sigaddset(&own, signal);
        pthread_sigmask(SIG_UNBLOCK, &own, NULL);
    }
    atomic_store_relaxed(&passing_info, (uintptr_t)info);
    atomic_store_relaxed(&passing_frame, frame);
    if (action.sa_flags & SA_SIGINFO)
        action.sa_sigaction(signal, info, context);
    else
        action.sa_handler(signal);
    atomic_store_relaxed(&passing_frame, 0);
}

/* ---- the fault ---- */

static uintptr_t pc_of(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)context->uc_mcontext.pc;
#else
    return 0;
#endif
}

static const char *access_of(const ucontext_t *context)
{
#if defined(__x86_64__)
    return context->uc_mcontext.gregs[REG_ERR] & 2 ? "write" : "read"; /* bit 1 of a page fault's error code */
#else
    return "access";
#endif
}

static void tell_fault(void *arg)
{
    const struct fault *fault = arg;
    const struct guard_slot *slot = fault->slot;
    const char *at = fault->info->si_addr, *end = slot->block + slot->size;
    struct trace here;
    trace_take(&here, pc_of(fault->context), true);
    size_t distance = (size_t)(at < slot->block ? slot->block - at : at < end ? at - slot->block : at - end);
    const char *where = at < slot->block ? "before" : at < end ? "into" : "behind";
    os_message("  %s of %p, %zu byte%s %s the block, by thread %u:\n", access_of(fault->context), at, distance,
               distance == 1 ? "" : "s", where, here.tid);
    trace_write(STDERR_FILENO, &here);
    write_history(slot);
    if (fault->program->sa_handler != SIG_DFL && fault->program->sa_handler != SIG_IGN)
        pass_on(fault->program, fault->signal, fault->info, fault->context);
}

static bool has_block(const struct guard_slot *slot)
{
    uint32_t state = atomic_load_acquire(&slot->state);
    return state == GUARD_LIVE || state == GUARD_FREED || (state == GUARD_BUSY && slot->freed.depth != 0);
}

static size_t distance_to(const struct guard_slot *slot, const char *at)
{
    const char *end = slot->block + slot->size;
    return (size_t)(at < slot->block ? slot->block - at : at >= end ? at - end : 0);
}

/* The slot whose block is nearest: that of the unit, or of the next; NULL when neither has one. */
static const struct guard_slot *slot_near(const char *at)
{
    uintptr_t unit = ((uintptr_t)at - guard_base) >> HK_UNIT_SHIFT;
    const struct guard_slot *slot = has_block(&guard_slots[unit]) ? &guard_slots[unit] : NULL;
    const struct guard_slot *next = unit + 1 < GUARD_UNITS ? &guard_slots[unit + 1] : NULL;
    if (next == NULL || !has_block(next) || (uintptr_t)at % HK_UNIT_SIZE < HK_UNIT_SIZE / 2)
        return slot;
    return slot == NULL || distance_to(next, at) < distance_to(slot, at) ? next : slot;
}

static void on_fault(struct sigaction *program, int signal, siginfo_t *info, void *context)
{
    int saved = errno;
    const char *at = info->si_addr;
    bool ours = info->si_code > 0 && guard_base != 0 && ((uintptr_t)at - guard_base) >> HK_UNIT_SHIFT < GUARD_UNITS;
    struct fault fault = {ours ? slot_near(at) : NULL, program, signal, info, context};
    if (fault.slot != NULL) {
        enum misuse_kind kind = atomic_load_relaxed(&fault.slot->state) != GUARD_LIVE ? MISUSE_USE_AFTER_FREE
                                : at < fault.slot->block                              ? MISUSE_UNDERFLOW
                                                                                      : MISUSE_OVERFLOW;
        misuse_abort_telling(kind, fault.slot->block, fault.slot->size, tell_fault, &fault);
    }
    pass_on(program, signal, info, context);
    errno = saved;
}

#define HANDLER(n)                                                      \
    static void handler_##n(int signal, siginfo_t *info, void *context) \
    {                                                                   \
        on_fault(&previous[n], signal, info, context);                  \
    }
EACH_HANDLER(HANDLER)

#define HANDLER_NAME(n) handler_##n,
static void (*const handlers[HANDLERS])(int, siginfo_t *, void *) = {EACH_HANDLER(HANDLER_NAME)};

static bool is_same(const struct sigaction *a, const struct sigaction *b)
{
    return a->sa_flags == b->sa_flags &&
           (a->sa_flags & SA_SIGINFO ? a->sa_sigaction == b->sa_sigaction : a->sa_handler == b->sa_handler);
}

static bool is_own(const struct sigaction *action)
{
    for (unsigned n = 0; n < HANDLERS; n++)
        if ((action->sa_flags & SA_SIGINFO) && action->sa_sigaction == handlers[n])
            return true;
    return false;
}

/* The handler that came before the same already, or one that came before nothing yet, or the last. */
static unsigned handler_before(const struct sigaction *program)
{
    unsigned used = atomic_load_relaxed(&used_handlers), n = 0;
    while (n < used && !is_same(&previous[n], program))
        n++;
    return n < HANDLERS ? n : HANDLERS - 1;
}

/* What the program installs at that very moment is what is replaced, and told so. */
void guard_catch_faults(void)
{
    int saved = errno;
    struct sigaction now, replaced;
    if (sigaction(SIGSEGV, NULL, &now) == 0 && !is_own(&now)) {
        unsigned n = handler_before(&now);
        int flags = SA_SIGINFO | SA_ONSTACK | (now.sa_flags & SA_RESTART);
        struct sigaction action = {.sa_sigaction = handlers[n], .sa_flags = flags};
        previous[n] = now;
        if (n >= atomic_load_relaxed(&used_handlers))
            atomic_store_relaxed(&used_handlers, n + 1);
        if (sigaction(SIGSEGV, &action, &replaced) == 0 && !is_own(&replaced))
            previous[n] = replaced;
    }
    errno = saved;
}
