/* os_linux_message.c - what is said, by write(2) alone. */
#include "os.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os_format.h"

#define MESSAGE_MAX 512u

/* A broken pipe must not end the program: SIGPIPE is held back, and taken away if the write raised it. */
static void write_quietly(int fd, const char *text, size_t len)
{
    uint64_t pipe_signal = UINT64_C(1) << (SIGPIPE - 1), before, pending = 0;
    struct timespec at_once = {0, 0};
    if (syscall(SYS_rt_sigprocmask, SIG_BLOCK, &pipe_signal, &before, OS_SIGSET_BYTES) != 0)
        return;
    syscall(SYS_rt_sigpending, &pending, OS_SIGSET_BYTES);
    long written;
    do {
        written = syscall(SYS_write, fd, text, len);
    } while (written < 0 && errno == EINTR);
    if (written < 0 && errno == EPIPE && (pending & pipe_signal) == 0)
        syscall(SYS_rt_sigtimedwait, &pipe_signal, NULL, &at_once, OS_SIGSET_BYTES);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, OS_SIGSET_BYTES);
}

static void write_message(int fd, const char *format, va_list list)
{
    char text[MESSAGE_MAX + 2]; /* one byte more than is written shows that something was cut off */
    int saved = errno;
    size_t len = os_format_va(text, sizeof text, format, list);
    if (len > MESSAGE_MAX) {
        len = MESSAGE_MAX;
        text[len - 1] = '\n';
    }
    write_quietly(fd, text, len);
    errno = saved;
}

void os_message(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    write_message(STDERR_FILENO, format, list);
    va_end(list);
}

void os_message_to(int fd, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    write_message(fd, format, list);
    va_end(list);
}
