/* test_os_text.c - what is written without libc's stdio: formats, and messages to standard error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "../../src/os.h"
#include "in_child.h"

#define AN_ERRNO 4711

static void a_format_gives_what_printf_gives(void **state)
{
    (void)state;
    char ours[256], theirs[256];
#define SAME(...)                                                                    \
    do {                                                                             \
        size_t len = os_format(ours, sizeof ours, __VA_ARGS__);                      \
        assert_int_equal(len, (size_t)snprintf(theirs, sizeof theirs, __VA_ARGS__)); \
        assert_string_equal(ours, theirs);                                           \
    } while (0)
    SAME("plain");
    SAME("%d %d %d %d", 0, -1, INT32_MAX, INT32_MIN);
    SAME("%u %x", UINT32_MAX, 0xdeadbeefu);
    SAME("%lu %lx %zu", UINT64_MAX, UINT64_MAX, SIZE_MAX);
    SAME("%llu %llx", 12345678901234567890ull, 0ull);
    SAME("%p and %p", (void *)0x7fffdeadbeef, (void *)ours);
    SAME("100%% of %s%s", "this", "");
    SAME("%s %d %s %d %s %d %s %d", "many", 1, "to", 2, "the", 3, "stack", 4);
    os_format(ours, sizeof ours, "%p", (void *)NULL);
    assert_string_equal(ours, "0x0");
    const char *volatile none = NULL;
    os_format(ours, sizeof ours, "%s.", none);
    assert_string_equal(ours, "(null).");
}

static void a_format_ends_at_the_buffer(void **state)
{
    (void)state;
    for (size_t size = 0; size < 24; size++) {
        char buf[32];
        memset(buf, '#', sizeof buf);
        size_t len = os_format(buf, size, "%s %llu", "abcdef", 12345678901ull);
        assert_int_equal(len, size == 0 ? 0 : size - 1 < 18 ? size - 1 : 18);
        if (size != 0)
            assert_int_equal(buf[len], 0);
        for (size_t i = size; i < sizeof buf; i++)
            assert_int_equal(buf[i], '#');
    }
}

static int say_long(void *arg)
{
    char word[2001];
    memset(word, 'w', 2000);
    word[2000] = '\0';
    errno = AN_ERRNO;
    os_message("%s\n", word + 2000 - *(int *)arg);
    CLAIM(errno == AN_ERRNO);
    return 0;
}

static void a_message_is_one_line_of_512_bytes_at_most(void **state)
{
    (void)state;
    static struct child_end end;
    static int lengths[] = {5, 511, 512, 2000};
    for (int i = 0; i < 4; i++) {
        in_child(say_long, &lengths[i], &end);
        size_t expected = lengths[i] + 1 < 512 ? (size_t)lengths[i] + 1 : 512;
        assert_int_equal(end.status, 0);
        assert_int_equal(strlen(end.text), expected);
        assert_ptr_equal(strchr(end.text, '\n'), end.text + expected - 1);
    }
}

/* What a write to standard error would end with, SIGPIPE ignored. */
static int send_nothing(void)
{
    signal(SIGPIPE, SIG_IGN);
    return write(STDERR_FILENO, "?", 1) == 1 ? 0 : errno;
}

static int say_into_nothing(void *arg)
{
    (void)arg;
    int ends[2];
    sigset_t pending, mask, before;
    CLAIM(pipe(ends) == 0);
    errno = AN_ERRNO;
    close(STDERR_FILENO);
    os_message("nobody\n");
    CLAIM(errno == AN_ERRNO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    CLAIM(send_nothing() == EPIPE);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_BLOCK, NULL, &before);
    os_message("a broken pipe\n"); /* SIGPIPE would end the process */
    sigprocmask(SIG_BLOCK, NULL, &mask);
    CLAIM(sigismember(&mask, SIGPIPE) == sigismember(&before, SIGPIPE));
    CLAIM(sigpending(&pending) == 0 && !sigismember(&pending, SIGPIPE));
    sigemptyset(&mask);
    sigaddset(&mask, SIGPIPE);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    raise(SIGPIPE); /* the program's own: it stays pending */
    os_message("a broken pipe\n");
    CLAIM(sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE));
    return 0;
}

static void a_message_to_nobody_does_no_harm(void **state)
{
    (void)state;
    assert_int_equal(claims_of(say_into_nothing, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_format_gives_what_printf_gives),
        cmocka_unit_test(a_format_ends_at_the_buffer),
        cmocka_unit_test(a_message_is_one_line_of_512_bytes_at_most),
        cmocka_unit_test(a_message_to_nobody_does_no_harm),
    };
    return cmocka_run_group_tests_name("os_text", tests, NULL, NULL);
}
