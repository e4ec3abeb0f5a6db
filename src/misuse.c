/* misuse.c - the end of a process whose program freed what it must not. */
#include "misuse.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../probes/probe.h"
#include "lock.h"
#include "os.h"

#define KERNEL_SIGACTION_BYTES 64 /* more than the kernel's struct has on any machine; all zeros say SIG_DFL */

static const char *const kind_text[MISUSE_KINDS] = {
#define HK_MISUSE(name, text) [MISUSE_##name] = text,
#include "misuse.def"
#undef HK_MISUSE
};

static long ending_thread; /* any: whose SIGABRT is under way */

static void report(enum misuse_kind kind, const void *ptr, size_t size)
{
    const char *text = (unsigned)kind < MISUSE_KINDS ? kind_text[kind] : "misuse of";
    if (size != 0)
        os_message("hakmem: %s %p (%zu-byte block)\n", text, ptr, size);
    else
        os_message("hakmem: %s %p\n", text, ptr);
    HK_PROBE_FIRE(misuse, kind, ptr, size);
}

static const uint64_t abort_signal = UINT64_C(1) << (SIGABRT - 1);

static bool is_blocked(void)
{
    uint64_t blocked = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &blocked, OS_SIGSET_BYTES);
    return (blocked & abort_signal) != 0;
}

static void raise_abort(long tid)
{
    syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &abort_signal, NULL, OS_SIGSET_BYTES);
    syscall(SYS_tgkill, syscall(SYS_getpid), tid, SIGABRT);
}

/* libc's abort(), by system calls alone: a handler gets its chance once, whatever the program did to the signal. */
_Noreturn static void end_process(long tid, bool ask_handler)
{
    static const uint64_t default_action[KERNEL_SIGACTION_BYTES / 8];
    if (ask_handler)
        raise_abort(tid);
    for (unsigned tries = 0; tries < 3; tries++) { /* another thread may set a handler in between */
        syscall(SYS_rt_sigaction, SIGABRT, default_action, NULL, OS_SIGSET_BYTES);
        raise_abort(tid);
    }
    for (;;) /* the init process of a pid namespace survives a SIGABRT */
        __builtin_trap();
}

/* A handler of SIGABRT that frees a bad pointer itself is not asked again; one that left by siglongjmp is. */
_Noreturn void misuse_abort_telling(enum misuse_kind kind, const void *ptr, size_t size, void (*tell)(void *arg),
                                    void *arg)
{
    long tid = syscall(SYS_gettid);
    hk_depth = 0; /* a handler may leave by siglongjmp; no lock is held */
    bool again = atomic_load_relaxed(&ending_thread) == tid && is_blocked(); /* as long as its handler runs */
    atomic_store_relaxed(&ending_thread, tid);
    if (!again) {
        report(kind, ptr, size);
        if (tell != NULL)
            tell(arg);
    }
    end_process(tid, !again);
}

_Noreturn void misuse_abort(enum misuse_kind kind, const void *ptr, size_t size)
{
    misuse_abort_telling(kind, ptr, size, NULL, NULL);
}
