/* test_config.c - HAKMEM_CONF as a process finds it: this program starts itself anew with each environment, and the new
 * process tells on standard error what it made of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/config.h"
#include "in_child.h"

#define DEFAULTS                                                                                                  \
    "region:default,superslabs:default,cache:64m,decay_ms:150,retain:8m,ace_limit:256m,ace_hit_rate:90,harden:0," \
    "guard:0,sample:512k,sample_rate:250,oom_report:0,print:0"

static const char *program = "/proc/self/exe"; /* what the next one runs */
static struct child_end end;

/* ---- the process that is looked at ---- */

static bool environ_was_null;

/* Before any constructor, as a call from the dynamic linker is: libc has not set environ yet. LATE=1 leaves it to main. */
static void before_constructors(int argc, char **argv, char **envp)
{
    (void)argc;
    (void)argv;
    for (; *envp != NULL; envp++) {
        if (strcmp(*envp, "LATE=1") == 0)
            return;
    }
    char **saved = environ;
    environ_was_null = saved == NULL;
    environ = NULL;
    config_init();
    environ = saved;
}
__attribute__((section(".preinit_array"), used)) static void (*const preinit)(int, char **,
                                                                              char **) = before_constructors;

static _Noreturn void tell(const char *mode)
{
    char text[512];
    const char *conf;
    config_init();
    config_report();
    config_report(); /* once is enough */
    config_format(text, sizeof text);
    conf = getenv("HAKMEM_CONF");
    fprintf(stderr, "in force %s\ntrace %d secure %lu\nleft [%s]\n", text, hk_config.ace_trace, getauxval(AT_SECURE),
            conf == NULL         ? "(unset)"
            : strlen(conf) < 200 ? conf
                                 : "(long)");
    if (strcmp(mode, "twice") == 0)
        execle("/proc/self/exe", "test_config", "once", NULL, environ);
    _exit(0);
}

/* ---- the test's side ---- */

struct start {
    const char *mode;
    char **environment;
};

static int start_anew(void *arg)
{
    const struct start *start = arg;
    execle(program, "test_config", start->mode, NULL, start->environment);
    return __LINE__;
}

/* What a process says that finds HAKMEM_CONF=conf in its environment. */
static const char *said_with(const char *mode, const char *conf, const char *more)
{
    static char variable[200000];
    char *environment[] = {"BEFORE=1", variable, (char *)(more != NULL ? more : "AFTER=1"), NULL};
    struct start start = {mode, environment};
    snprintf(variable, sizeof variable, "HAKMEM_CONF=%s", conf);
    in_child(start_anew, &start, &end);
    program = "/proc/self/exe";
    if (end.status != 0)
        fprintf(stderr, "status 0x%x, line %d\n%s", (unsigned)end.status, end.line, end.text);
    assert_int_equal(end.status, 0);
    return end.text;
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    for (; (text = strstr(text, what)) != NULL; text += strlen(what))
        n++;
    return n;
}

static void says(const char *text, const char *what)
{
    if (strstr(text, what) == NULL)
        fprintf(stderr, "missing: %s\nin:\n%s", what, text);
    assert_non_null(strstr(text, what));
}

/* The configuration in force is the default with one option replaced, and nothing is complained about. */
static void gives(const char *conf, const char *option)
{
    const char *text = said_with("once", conf, NULL);
    assert_int_equal(count(text, "hakmem:"), 0);
    says(text, option);
}

static void without_settings_the_defaults_are_in_force(void **state)
{
    (void)state;
    char *nothing[] = {NULL},
         *others[] = {"HAKMEM_CONFX=cache:1m", "XHAKMEM_CONF=cache:1m", "HAKMEM_CON=cache:1m", NULL};
    struct start start = {"once", nothing};
    in_child(start_anew, &start, &end);
    assert_string_equal(end.text, "in force " DEFAULTS "\ntrace 0 secure 0\nleft [(unset)]\n");
    start.environment = others;
    in_child(start_anew, &start, &end);
    says(end.text, "in force " DEFAULTS "\n");
    assert_string_equal(said_with("once", "", NULL), "in force " DEFAULTS "\ntrace 0 secure 0\nleft []\n");
    assert_string_equal(said_with("once", ",,,", NULL), "in force " DEFAULTS "\ntrace 0 secure 0\nleft [,,,]\n");
}

static void a_value_is_taken_with_its_suffix(void **state)
{
    (void)state;
    gives("cache:0", "cache:0,");
    gives("cache:123456", "cache:123456,");
    gives("cache:64k", "cache:64k,");
    gives("cache:64K", "cache:64k,");
    gives("cache:3m", "cache:3m,");
    gives("cache:1024k", "cache:1m,");
    gives("cache:1g", "cache:1g,");
    gives("retain:1T", "retain:1t,");
    gives("region:64t", "region:64t,");
    gives("region:0", "region:0,");
    gives("cache:0000000000000000000000001m", "cache:1m,");
    gives("superslabs:18446744073709551614", "superslabs:18446744073709551614,");
    gives("superslabs:12", "superslabs:12,");
    gives("cache:default", "cache:64m,");
    gives(",cache:2m,,", "cache:2m,");
    gives(" cache : 2m , decay_ms:7", "cache:2m,decay_ms:7,");
    gives("cache:1m,cache:2m,cache:3m", "cache:3m,");
    gives("ace_hit_rate:100,superslabs:0,decay_ms:0",
          "superslabs:0,cache:64m,decay_ms:0,retain:8m,ace_limit:256m,ace_hit_rate:100,");
}

static void what_is_printed_can_be_given_again(void **state)
{
    (void)state;
    gives(DEFAULTS, "in force " DEFAULTS "\n");
    gives("region:1g,superslabs:3,cache:1k,decay_ms:5,retain:1t,ace_limit:33000,ace_hit_rate:1,harden:0,guard:0,sample:"
          "512k,sample_rate:250,oom_report:0,print:0",
          "in force "
          "region:1g,superslabs:3,cache:1k,decay_ms:5,retain:1t,ace_limit:33000,ace_hit_rate:1,harden:0,guard:0,sample:"
          "512k,sample_rate:250,oom_report:0,print:0");
}

static void a_bad_value_gets_one_line_and_the_default(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"cache:", "\"\" for cache"},
        {"cache", "\"\" for cache"},
        {"cache:x", "\"x\" for cache"},
        {"cache:m", "\"m\" for cache"},
        {"cache:4mb", "\"4mb\" for cache"},
        {"cache:4 m", "\"4 m\" for cache"},
        {"cache:-1", "\"-1\" for cache"},
        {"cache:+1", "\"+1\" for cache"},
        {"cache:0x10", "\"0x10\" for cache"},
        {"cache:1.5m", "\"1.5m\" for cache"},
        {"cache:2g", "\"2g\" for cache"},
        {"cache:1m:2m", "\"1m:2m\" for cache"},
        {"cache:1m decay_ms:5", "\"1m decay_ms:5\" for cache"},
        {"cache:99999999999999999999", "\"99999999999999999999\" for cache"},
        {"cache:92233720368547758080", "\"92233720368547758080\" for cache"}, /* 5 * 2^64 */
        {"cache:18446744073709551616", "\"18446744073709551616\" for cache"},
        {"cache:18014398509481985k", "\"18014398509481985k\" for cache"}, /* 2^64 + 1024 */
        {"cache:16777217t", "\"16777217t\" for cache"},
        {"region:128t", "\"128t\" for region"},
        {"ace_limit:31k", "\"31k\" for ace_limit"},
        {"decay_ms:1k", "\"1k\" for decay_ms"},
        {"decay_ms:3600001", "\"3600001\" for decay_ms"},
        {"ace_hit_rate:101", "\"101\" for ace_hit_rate"},
        {"print:2", "\"2\" for print"},
        {"print:yes", "\"yes\" for print"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *text = said_with("once", bad[i][0], NULL);
        says(text, bad[i][1]);
        says(text, "in force " DEFAULTS "\n");
        assert_int_equal(count(text, "hakmem:"), 1);
        assert_int_equal(count(text, "\n"), 4);
    }
    says(said_with("once", "cache:x", NULL),
         "takes a size from 0 to 1g, with suffix k, m, g, t or none; the default 64m is used\n");
    says(said_with("once", "decay_ms:x", NULL), "takes a whole number from 0 to 3600000; the default 150 is used\n");
    says(said_with("once", "superslabs:x", NULL), "takes a whole number from 0 up; the default is used\n");
    says(said_with("once", "print:x", NULL), "takes 0 or 1; the default 0 is used\n");
    says(said_with("once", "cache:1m,cache:x", NULL), "; 1m is used\n");
    says(end.text, "cache:1m,");
}

static void an_unknown_key_gets_one_line_with_the_known_ones(void **state)
{
    (void)state;
    static const char *const unknown[][2] = {
        {"colour:blue", "\"colour\""},
        {"colour", "\"colour\""},
        {":5", "\"\""},
        {":", "\"\""},
        {"Cache:1m", "\"Cache\""},
        {"cach:1m", "\"cach\""},
        {"caches:1m", "\"caches\""},
        {"cache=1m", "\"cache=1m\""},
        {"a b:1", "\"a b\""},
        {"\033[31m:1", "\"?[31m\""},
    };
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        const char *text = said_with("once", unknown[i][0], NULL);
        says(text, unknown[i][1]);
        says(text,
             "known are region superslabs cache decay_ms retain ace_limit ace_hit_rate harden guard sample sample_rate "
             "oom_report print\n");
        says(text, "in force " DEFAULTS "\n");
        assert_int_equal(count(text, "hakmem:"), 1);
    }
}

static void only_the_first_process_complains(void **state)
{
    (void)state;
    const char *text = said_with("twice", "colour:1,cache:2m,decay_ms:x,print:1", NULL);
    assert_int_equal(count(text, "\"colour\""), 1);
    assert_int_equal(count(text, "\"x\" for decay_ms"), 1);
    assert_int_equal(count(text, "hakmem: cache:2m  (the most bytes"), 1);
    says(text, "left [,,,,,,,,,cache:2m,,,,,,,,,,,,,,,,,,,]\n"); /* what is right stays */
    assert_int_equal(count(text, "cache:2m,decay_ms:150,"), 2);
}

static void the_whole_table_is_printed_when_asked(void **state)
{
    (void)state;
    const char *text = said_with("once", "print:1,cache:8k", "HAKMEM_ACE_TRACE=1");
    says(text, "hakmem: cache:8k  (the most bytes that one thread's cache keeps; ");
    says(text, "hakmem: region:default  (");
    says(text, "hakmem: print:1  (");
    says(text, "hakmem: HAKMEM_ACE_TRACE=1\n");
    assert_int_equal(count(text, "hakmem:"), 14);
    assert_int_equal(count(said_with("once", "print:1,print:0", NULL), "hakmem:"), 0);
}

static void ace_trace_is_on_for_1_alone(void **state)
{
    (void)state;
    static const char *const off[] = {"HAKMEM_ACE_TRACE=", "HAKMEM_ACE_TRACE=0", "HAKMEM_ACE_TRACE=10",
                                      "HAKMEM_ACE_TRACED=1"};
    says(said_with("once", "", "HAKMEM_ACE_TRACE=1"), "trace 1 ");
    for (int i = 0; i < 4; i++)
        says(said_with("once", "", off[i]), "trace 0 ");
}

static void a_long_list_is_read_to_its_end(void **state)
{
    (void)state;
    static char conf[100001];
    for (size_t i = 0; i + 10 <= sizeof conf - 20; i += 10)
        memcpy(conf + i, "cache:15k,", 11);
    strcat(conf, "cache:17k");
    gives(conf, "cache:17k,");
    memset(conf, ',', 90000);
    strcpy(conf + 90000, "cache:19k");
    gives(conf, "cache:19k,");
    memset(conf, 'x', 90000);
    strcpy(conf + 90000, ",cache:21k");
    const char *text = said_with("once", conf, NULL);
    says(text, "cache:21k,");
    says(text, "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\"");
    for (size_t i = 0; i < 10000; i++)
        memcpy(conf + i * 4, "x:1,", 5);
    text = said_with("twice", conf, NULL);
    assert_int_equal(count(text, "unknown key"), 32);
    assert_int_equal(count(text, "9968 more items are bad\n"), 1);
}

static void a_later_variable_of_the_same_name_is_not_read(void **state)
{
    (void)state;
    says(said_with("once", "cache:1m", "HAKMEM_CONF=cache:2m"), "cache:1m,");
}

static void a_program_with_more_rights_ignores_it(void **state)
{
    (void)state;
    char copy[] = "/tmp/hakmem-test-secure-XXXXXX", buf[65536];
    if (getuid() != 0)
        SKIP_BECAUSE("needs root, to make a setuid program");
    int to = mkstemp(copy), from = open("/proc/self/exe", O_RDONLY);
    assert_true(to >= 0 && from >= 0);
    for (ssize_t n; (n = read(from, buf, sizeof buf)) > 0;)
        assert_int_equal(write(to, buf, (size_t)n), n);
    assert_int_equal(fchown(to, 65534, 65534), 0);
    assert_int_equal(fchmod(to, 04755), 0);
    close(to);
    close(from);
    program = copy;
    const char *text = said_with("once", "cache:1m,colour:1,print:1", "HAKMEM_ACE_TRACE=1");
    unlink(copy);
    if (strstr(text, "secure 0") != NULL)
        SKIP_BECAUSE("/tmp is mounted nosuid");
    assert_string_equal(text, "in force " DEFAULTS "\ntrace 0 secure 1\nleft [cache:1m,colour:1,print:1]\n");
}

static void it_is_found_before_libc_sets_environ(void **state)
{
    (void)state;
    assert_true(environ_was_null); /* so every process above read it so */
}

static void it_is_found_in_environ(void **state)
{
    (void)state;
    says(said_with("twice", "cache:2m,colour:1", "LATE=1"), "left [cache:2m,,,,,,,,,]\n");
    says(end.text, "cache:2m,");
    assert_int_equal(count(end.text, "hakmem:"), 1);
}

/* ---- in this process ---- */

static void a_format_ends_at_its_buffer(void **state)
{
    (void)state;
    char whole[512], part[512];
    size_t len = config_format(whole, sizeof whole);
    assert_int_equal(len, strlen(whole));
    for (size_t size = 1; size <= len; size++) {
        memset(part, '#', sizeof part);
        assert_int_equal(config_format(part, size), size - 1);
        assert_memory_equal(part, whole, size - 1);
        assert_int_equal(part[size - 1], 0);
        assert_int_equal(part[size], '#');
    }
    part[0] = '#';
    assert_int_equal(config_format(part, 0), 0);
    assert_int_equal(part[0], '#');
}

int main(int argc, char **argv)
{
    if (argc > 1)
        tell(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_settings_the_defaults_are_in_force),
        cmocka_unit_test(a_value_is_taken_with_its_suffix),
        cmocka_unit_test(what_is_printed_can_be_given_again),
        cmocka_unit_test(a_bad_value_gets_one_line_and_the_default),
        cmocka_unit_test(an_unknown_key_gets_one_line_with_the_known_ones),
        cmocka_unit_test(only_the_first_process_complains),
        cmocka_unit_test(the_whole_table_is_printed_when_asked),
        cmocka_unit_test(ace_trace_is_on_for_1_alone),
        cmocka_unit_test(a_long_list_is_read_to_its_end),
        cmocka_unit_test(a_later_variable_of_the_same_name_is_not_read),
        cmocka_unit_test(a_program_with_more_rights_ignores_it),
        cmocka_unit_test(it_is_found_before_libc_sets_environ),
        cmocka_unit_test(it_is_found_in_environ),
        cmocka_unit_test(a_format_ends_at_its_buffer),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
