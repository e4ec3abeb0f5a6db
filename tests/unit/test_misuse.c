/* test_misuse.c - the end of a process that freed what it must not: one line, then SIGABRT, whatever the program did to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../src/misuse.h"
#include "in_child.h"

#define BLOCK ((void *)0x7f0012345670)
#define LINE "hakmem: double free of 0x7f0012345670 (48-byte block)\n"

static struct child_end end;

static void ends_by_abort(int (*body)(void *), void *arg, const char *text)
{
    in_child(body, arg, &end);
    assert_int_equal(end.line, -1);
    assert_true(WIFSIGNALED(end.status));
    assert_int_equal(WTERMSIG(end.status), SIGABRT);
    assert_string_equal(end.text, text);
}

/* No core files of what is meant to end so. */
static _Noreturn void misuse(void)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    misuse_abort(MISUSE_DOUBLE_FREE, BLOCK, 48);
}

static int plainly(void *arg)
{
    (void)arg;
    misuse();
}

static void one_line_and_sigabrt(void **state)
{
    (void)state;
    ends_by_abort(plainly, NULL, LINE);
}

static int of_kind(void *arg)
{
    misuse_abort(*(enum misuse_kind *)arg, BLOCK, 0);
}

static void each_kind_has_its_text(void **state)
{
    (void)state;
    static const char *const texts[] = {
#define HK_MISUSE(name, text) text,
#include "../../src/misuse.def"
#undef HK_MISUSE
    };
    for (int kind = 0; kind < MISUSE_KINDS; kind++) {
        char line[256];
        enum misuse_kind which = (enum misuse_kind)kind;
        snprintf(line, sizeof line, "hakmem: %s 0x7f0012345670\n", texts[kind]);
        ends_by_abort(of_kind, &which, line);
    }
}

static int blocked_and_ignored(void *arg)
{
    (void)arg;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    signal(SIGABRT, SIG_IGN);
    misuse();
}

static void a_blocked_and_ignored_signal_ends_it_too(void **state)
{
    (void)state;
    ends_by_abort(blocked_and_ignored, NULL, LINE);
}

static void say(int signal)
{
    (void)signal;
    if (write(STDERR_FILENO, "handled\n", 8) != 8)
        _exit(3);
}

static int handled(void *arg)
{
    (void)arg;
    signal(SIGABRT, say);
    misuse();
}

static void a_handler_is_asked_once(void **state)
{
    (void)state;
    ends_by_abort(handled, NULL, LINE "handled\n");
}

static void misuse_again(int signal)
{
    say(signal);
    misuse_abort(MISUSE_CORRUPT_LIST, BLOCK, 0);
}

static int handled_by_misuse(void *arg)
{
    (void)arg;
    signal(SIGABRT, misuse_again);
    misuse();
}

static void a_handler_that_misuses_itself_ends_it(void **state)
{
    (void)state;
    ends_by_abort(handled_by_misuse, NULL, LINE "handled\n");
}

static void leave(int signal)
{
    (void)signal;
    _exit(7);
}

static int handled_by_leaving(void *arg)
{
    (void)arg;
    signal(SIGABRT, leave);
    misuse();
}

static void a_handler_may_choose_the_end(void **state)
{
    (void)state;
    in_child(handled_by_leaving, NULL, &end);
    assert_true(WIFEXITED(end.status));
    assert_int_equal(WEXITSTATUS(end.status), 7);
    assert_string_equal(end.text, LINE);
}

static void *in_thread(void *arg)
{
    plainly(arg);
    return NULL;
}

static int by_thread(void *arg)
{
    pthread_t thread;
    sigset_t abort_signal;
    sigemptyset(&abort_signal);
    sigaddset(&abort_signal, SIGABRT);
    pthread_sigmask(SIG_BLOCK, &abort_signal, NULL);
    pthread_create(&thread, NULL, in_thread, arg);
    pthread_join(thread, NULL);
    return 0;
}

static void a_thread_ends_the_whole_process(void **state)
{
    (void)state;
    ends_by_abort(by_thread, NULL, LINE);
}

static int without_stderr(void *arg)
{
    int ends[2];
    if (pipe(ends) != 0)
        return __LINE__;
    close(ends[0]);
    if (arg == NULL)
        close(STDERR_FILENO);
    else
        dup2(ends[1], STDERR_FILENO); /* a pipe that nobody reads */
    signal(SIGPIPE, SIG_DFL);
    misuse();
}

static void nobody_to_tell_it_to_ends_it_by_sigabrt_as_well(void **state)
{
    (void)state;
    ends_by_abort(without_stderr, NULL, "");
    ends_by_abort(without_stderr, &end, "");
}

static int in_vforked_child(void *arg)
{
    (void)arg;
    int status = 0;
    pid_t pid = vfork();
    if (pid == 0)
        misuse();
    CLAIM(waitpid(pid, &status, 0) == pid);
    CLAIM(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    return 0;
}

static void a_vforked_child_ends_alone(void **state)
{
    (void)state;
    in_child(in_vforked_child, NULL, &end);
    assert_int_equal(end.line, 0);
    assert_int_equal(end.status, 0);
    assert_string_equal(end.text, LINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_line_and_sigabrt),
        cmocka_unit_test(each_kind_has_its_text),
        cmocka_unit_test(a_blocked_and_ignored_signal_ends_it_too),
        cmocka_unit_test(a_handler_is_asked_once),
        cmocka_unit_test(a_handler_that_misuses_itself_ends_it),
        cmocka_unit_test(a_handler_may_choose_the_end),
        cmocka_unit_test(a_thread_ends_the_whole_process),
        cmocka_unit_test(nobody_to_tell_it_to_ends_it_by_sigabrt_as_well),
        cmocka_unit_test(a_vforked_child_ends_alone),
    };
    return cmocka_run_group_tests_name("misuse", tests, NULL, NULL);
}
